"""A finished run, opened to use its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession

from spark_pseudolabel.columns import VOTES
from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.output.preflight import require_finished
from spark_pseudolabel.output.scoring import committed_scorer
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.store.files import Files
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.manifest import FinalManifest, ModelManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class FinishedOutput:
    """The end of a run.

    Parameters
    ----------
    store
        Its memory.
    final
        How it ended.
    model
        The final model's manifest: classes, features, label type.
    """

    store: RoundStore
    final: FinalManifest
    model: ModelManifest

    @property
    def by_rules(self) -> bool:
        """Whether the final model sees the votes of rules, and no other column."""
        return any(feature.name == VOTES for feature in self.model.features)

    @property
    def rule_columns(self) -> tuple[Feature, ...]:
        """What the rules look at, as the run has read it."""
        found = self.store.models[0].training.rules
        return () if found is None else found.columns

    def scorer(self, keys: Sequence[str] = (), trusted: Sequence[str] = ()) -> Scorer:
        """Return the final model ready to score; `trusted` are further types it may hold.

        Raises
        ------
        StoredStateError
            If the model is not the one that was committed.
        """
        return committed_scorer(self.store, self.model.number, keys, trusted)


def latest_fit(files: Files, root: str) -> RoundStore:
    """Open the run that fitted the model of an output: of several generations the last that did."""
    generations = Generations.read(files, root)
    ended = None if generations is None else generations.ended
    if generations is None or ended is None or ended[0].deciding is None:
        return RoundStore.open(files, root)
    return generations.store(ended[0].deciding.generation)


def open_finished(spark: SparkSession, out: str) -> FinishedOutput:
    """Open the output of a finished run.

    Raises
    ------
    InputError
        If there is none, or it is not finished.
    """
    files, root = files_for(spark, out)
    store = latest_fit(files, root)
    require_finished(store, out)
    assert store.final is not None
    return FinishedOutput(store, store.final, store.models[store.final.final_model - 1])
