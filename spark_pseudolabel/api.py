"""Self-training from Python, on DataFrames: the same run as the command line's."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CONFIDENCE, LABEL, VOTES
from spark_pseudolabel.config import Config, parse_config
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import run
from spark_pseudolabel.job.finished import open_finished
from spark_pseudolabel.output.generations import latest_report
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.reading.rules import Functions, RuleSet
from spark_pseudolabel.spark.reading.schema_text import schema_of, without_foreign_types
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.spark.startup.session import borrowed
from spark_pseudolabel.spark.transform import with_predictions
from spark_pseudolabel.store.files import join, unglobbed

Section = Mapping[str, Any]

_FROM_DATAFRAME = {"from": "dataframe"}
_WITHOUT_PLACES = re.compile(r" at 0x[0-9a-f]+")
_TABLES = ("histogram", "reliability")


class SelfTraining:
    """Pseudo-label a DataFrame with a scikit-learn estimator.

    Parameters
    ----------
    estimator
        Name of an estimator in the registry, which gets the default preprocessing; or any
        scikit-learn classifier with ``predict_proba``, or pipeline, that skops can store, which is
        fitted as it is on a DataFrame with the feature columns. Default: none with policy
        ``auto``, whose committee is the final model; gradient boosting with the others.
    label
        Label column of the labeled rows.
    id
        Column that identifies a row, unique and not null.
    selection
        Policy name, or the ``selection`` section of a configuration. Default: ``auto``, or
        threshold 0.9 where `rounds`, `training`, `student` or a group of `validation` is given.
    mode
        ``"sklearn"`` for exactly what ``SelfTrainingClassifier`` does.
    student
        Estimator from model 2 on, where it differs: ``{"estimator": ..., "params": ...}``.
    teacher
        ``{"committee": [{"estimator": ..., "params": ...}, ...]}``: they label the pool together,
        once, and `estimator` is their student.
    rules
        Rules that label the pool instead: ``{"name": ..., "label": ..., "when": ...}`` each, of
        which ``when`` is a condition in Spark's SQL, or a function. Its parameters are named as
        columns, which it gets as pandas Series, to return whether each row gets a vote. With
        rules alone :meth:`fit` takes None in place of labeled rows.
    params
        Parameters of an estimator given by name.
    calibration
        ``"temperature"``, ``"sigmoid"`` or ``"isotonic"``; takes a teacher or a certificate.
        ``"auto"``: the scores of a graph of neighbors, which have no scale, and no others.
    prior
        Share of every label in the pool, where that is known.
    drawn
        ``"per_class"`` where labeled rows are not mixed as the pool is.
    group
        Column that says which labeled rows are alike, such as those of one customer; the pool has
        it, too, where a certificate is to be given.
    incremental
        True, or the section ``incremental`` of a configuration: :meth:`fit` labels the rows whose
        ids no earlier call with the same `output` has seen.
    snapshot
        ``"never"``, or ``"keep"``: whether the pool's rows are copied into the output as Parquet
        and read there; ``"auto"``, where that is cheaper, until the run has ended.
    task, tolerance, interval
        ``"regression"`` where labels are numbers. Such a label is right if it is within the
        tolerance of the true number: in units of the label, ``"5 %"`` or ``"0.25 sd"``; its bounds
        shall hold that share of the true numbers, 0.95. `estimator` is a regressor then.
    features, validation, rounds, training, save
        The sections ``features``, ``validation``, ``rounds``, ``training`` and ``output`` of a
        configuration, the latter without its path.
    random_state
        Seed of everything that chance decides.
    trusted
        Import paths of types inside `estimator` that may be stored and loaded besides the pinned
        ones.

    Examples
    --------
    >>> SelfTraining("LogisticRegression", label="y", id="row_id")  # doctest: +ELLIPSIS
    <spark_pseudolabel.api.SelfTraining object at ...>
    """

    def __init__(
        self,
        estimator: str | BaseEstimator | None = None,
        *,
        label: str,
        id: str,
        selection: str | Section | None = None,
        mode: str | None = None,
        student: Section | None = None,
        teacher: Section | None = None,
        rules: Sequence[Section] | None = None,
        params: Mapping[str, Any] | None = None,
        calibration: str = "auto",
        prior: Mapping[Any, float] | None = None,
        drawn: str = "random",
        group: str | None = None,
        incremental: bool | Section | None = None,
        snapshot: str = "auto",
        task: str = "classification",
        tolerance: float | str | None = None,
        interval: float | None = None,
        features: Section | None = None,
        validation: Section | None = None,
        rounds: Section | None = None,
        training: Section | None = None,
        save: Section | None = None,
        random_state: int = 0,
        trusted: Sequence[str] = (),
    ):
        self.estimator = estimator
        self.label = label
        self.id = id
        self.mode = mode
        self.trusted = tuple(trusted)
        self.random_state = random_state
        self._model = {**_model_section(estimator, params), "student": student}
        self._labeled = {**_FROM_DATAFRAME, "label": label, "drawn": drawn, "group": group}
        self._functions = {
            str(rule["name"]): rule["when"] for rule in rules or () if callable(rule.get("when"))
        }
        if rules is not None:
            teacher = {**(teacher or {}), "rules": [_described(rule) for rule in rules]}
        self._unlabeled = {**_FROM_DATAFRAME, "prior": prior, "snapshot": snapshot}
        self._save = dict(save or {})
        self._sections = {
            "selection": {"policy": selection} if isinstance(selection, str) else selection,
            "features": features,
            "validation": validation,
            "rounds": rounds,
            "training": training,
            "teacher": teacher,
            "calibration": calibration,
            "incremental": incremental,
            "task": task,
            "tolerance": tolerance,
            "interval": interval,
        }

    def fit(
        self,
        labeled: DataFrame | None,
        unlabeled: DataFrame,
        *,
        output: str,
        validation: DataFrame | None = None,
        test: DataFrame | None = None,
        events: Events | None = None,
    ) -> SelfTrainingResult:
        """Run to the end, or continue where an earlier call with the same `output` stopped.

        Parameters
        ----------
        labeled
            Rows with labels, feature columns and the id; None where rules need none.
        unlabeled
            The pool: feature columns and the id.
        output
            Directory for rounds, labels, model and reports.
        validation
            Rows with true labels that no model is trained on, instead of a share of `labeled`.
        test
            Rows with true labels, scored once at the end, for the report only.
        events
            Who listens; see ``spark_pseudolabel.progress``.

        Raises
        ------
        ConfigError
            If the arguments are wrong or do not fit together.
        InputError
            If the tables do not hold what the arguments say.
        """
        frames = {"unlabeled": unlabeled}
        optional = {"labeled": labeled, "validation": validation, "test": test}
        frames |= {name: rows for name, rows in optional.items() if rows is not None}
        given = [name for name in ("validation", "test") if name in frames]
        config = self.config(output, given, labeled=labeled is not None)
        spark = unlabeled.sparkSession
        with contextlib.ExitStack() as lent:
            for session in _sessions(frames.values()):
                lent.enter_context(borrowed(session))
            run(
                spark,
                config,
                events=events,
                frames=frames,
                functions=self._functions,
                estimator=self._own_estimator,
                trusted=self.trusted,
            )
        return SelfTrainingResult.load(spark, output, self.trusted, self._functions)

    def config(self, output: str, frames: Sequence[str] = (), *, labeled: bool = True) -> Config:
        """Return the configuration that :meth:`fit` runs.

        Parameters
        ----------
        output
            Its output directory.
        frames
            Which of ``validation`` and ``test`` are given as DataFrames.
        labeled
            Whether there are labeled rows.
        """
        sections = {
            name: section for name, section in self._sections.items() if section is not None
        }
        sections |= dict.fromkeys(frames, _FROM_DATAFRAME)
        if "test" in frames and not labeled:
            sections["test"] = {**_FROM_DATAFRAME, "label": self.label}
        return parse_config(
            {
                "mode": self.mode,
                "labeled": self._labeled if labeled else None,
                "unlabeled": self._unlabeled,
                "id": self.id,
                "model": self._model,
                "output": {**self._save, "path": output},
                "random_state": self.random_state,
                **sections,
            },
            estimator=self._own_estimator,
        )

    @property
    def _own_estimator(self) -> BaseEstimator | None:
        return None if isinstance(self.estimator, str) else self.estimator


@dataclass(frozen=True)
class SelfTrainingResult:
    """What a finished run left, ready to use.

    Parameters
    ----------
    spark
        The session.
    output
        Directory of the run.
    model
        The final model, fitted.
    report
        The document of ``report.json``.
    scorer
        The final model with its input columns.
    rules
        The rules whose votes the final model sees; None where it sees columns.
    """

    spark: SparkSession
    output: str
    model: BaseEstimator
    report: dict[str, Any]
    scorer: Scorer
    rules: RuleSet | None
    _label_type: str

    @classmethod
    def load(
        cls,
        spark: SparkSession,
        output: str,
        trusted: Sequence[str] = (),
        functions: Functions | None = None,
    ) -> SelfTrainingResult:
        """Open the output of a finished run.

        Parameters
        ----------
        spark, output, trusted
            As in :class:`SelfTraining`.
        functions
            Its rules that are functions, by their name, where no model has learned from them.

        Raises
        ------
        InputError
            If there is none, or it is not finished.
        StoredStateError
            If its model is not the one that was committed.
        """
        finished = open_finished(spark, output)
        scorer = finished.scorer(trusted=trusted)
        return cls(
            spark,
            output,
            scorer.model,
            dict(latest_report(finished.store)),
            scorer,
            RuleSet(spark, finished.store.settings.rules, functions or {})
            if finished.by_rules
            else None,
            finished.model.label_type,
        )

    @property
    def labels(self) -> DataFrame:
        """The accepted rows: id, ``label``, ``confidence``, ``round``, ``model``, ``weight``."""
        rows = self.spark.read.parquet(unglobbed(join(self.output.rstrip("/"), "labels")))
        return without_foreign_types(rows, schema_of(rows))

    @property
    def rounds(self) -> pd.DataFrame:
        """One row per round: candidates, accepted, rejected, invalid, whether used, metrics."""
        rows = pd.json_normalize(self.report["rounds"])
        return rows.drop(columns=[c for c in rows.columns if c.startswith(_TABLES)])

    @property
    def termination_condition(self) -> str:
        """Why the run stopped."""
        return str(self.report["termination_condition"])

    @property
    def n_iter(self) -> int:
        """How many rounds were run."""
        return int(self.report["n_iter"])

    def transform(
        self, rows: DataFrame, *, label_col: str = LABEL, confidence_col: str = CONFIDENCE
    ) -> DataFrame:
        """Add the final model's label and confidence to each row: the same as ``label`` gives.

        Parameters
        ----------
        rows
            Holds the feature columns.
        label_col, confidence_col
            Names of the new columns; both are null where a row can't be scored.

        Raises
        ------
        InputError
            If a feature is missing, or a new column's name is taken.
        """
        if self.rules is not None:
            rows = self.rules.on(Table("rows", schema_of(rows), partial(_itself, rows))).rows
        self._check_columns(rows, label_col, confidence_col)
        predicted = with_predictions(
            rows,
            self.scorer,
            self.report["classes"],
            self._label_type,
            label_col=label_col,
            confidence_col=confidence_col,
        )
        return predicted if self.rules is None else predicted.drop(VOTES)

    def _check_columns(self, rows: DataFrame, label_col: str, confidence_col: str) -> None:
        missing = [f.name for f in self.scorer.features if f.name not in rows.columns]
        if missing:
            raise InputError(
                f"transform needs the feature columns {missing}. The rows have {rows.columns}.",
                code="missing_column",
                where=missing[0],
            )
        duplicates = [column for column in (label_col, confidence_col) if column in rows.columns]
        if duplicates:
            raise InputError(
                f"The rows have columns {duplicates} already. Give label_col= and confidence_col=.",
                code="column_taken",
                where=duplicates[0],
            )


def _itself(rows: DataFrame) -> DataFrame:
    return rows


def _described(rule: Section) -> Section:
    """Return a rule as a configuration holds it: a function by its name and what it does."""
    when = rule.get("when")
    if not callable(when):
        return rule
    code = getattr(when, "__code__", None)
    what = repr(when) if code is None else repr((code.co_code, code.co_consts, code.co_names))
    # Part of the run's identity: another function must not continue this one's rounds.
    digest = hashlib.sha256(_WITHOUT_PLACES.sub("", what).encode()).hexdigest()[:16]
    name = getattr(when, "__qualname__", type(when).__qualname__)
    return {**{key: rule[key] for key in rule if key != "when"}, "function": f"{name} {digest}"}


def _sessions(frames: Iterable[DataFrame]) -> list[SparkSession]:
    """Return the sessions of DataFrames, each once."""
    return [*{id(rows.sparkSession): rows.sparkSession for rows in frames}.values()]


def _model_section(
    estimator: str | BaseEstimator | None, params: Mapping[str, Any] | None
) -> Section:
    if estimator is None:
        return {} if params is None else {"params": dict(params)}
    if isinstance(estimator, str):
        return {"estimator": estimator, "params": dict(params or {})}
    # Part of the run's identity: another estimator must not continue this one's rounds.
    kind = type(estimator)
    described = {name: repr(value) for name, value in estimator.get_params(deep=True).items()}
    return {"estimator": f"{kind.__module__}.{kind.__qualname__}", "params": described}
