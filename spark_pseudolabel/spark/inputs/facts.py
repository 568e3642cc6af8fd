"""What a run works on, once everything it reads was opened and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.evaluation import HeldOutRows
from spark_pseudolabel.spark.reading.tables import Note, Table
from spark_pseudolabel.spark.snapshot import Choice
from spark_pseudolabel.store.inputs import FrozenInputs

Frames = Mapping[str, DataFrame]
"""DataFrames given in Python, by section name: labeled, unlabeled, validation, test."""
GROUP = "spl_group"
LABEL_COLUMN = "spl_label"


@dataclass(frozen=True)
class Groups:
    """The group of each row.

    Parameters
    ----------
    labeled
        Of the labeled rows, in their order; a null is a group of its own.
    validation
        Of the validation rows; None where these are a table without the column.
    pool
        The pool as keys and ``spl_group``; None where it lacks the column.
    """

    labeled: pa.ChunkedArray
    validation: pa.ChunkedArray | None
    pool: Table | None


@dataclass(frozen=True)
class NewRows:
    """Which rows of the pool are read, where earlier generations have seen others.

    Parameters
    ----------
    files
        Of the pool's directory, those that are read; None: all rows there are.
    seen
        Tells of hashes of ids, ascending, which of them were seen; None: none was.
    """

    files: frozenset[str] | None = None
    seen: Callable[[Hashes], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Inputs:
    """What a run works on.

    Parameters
    ----------
    keys
        The id column, or ``file`` and ``row_index``.
    key_types
        Their Spark types in the pool; inside a run all integers are bigint.
    training_types
        By key and feature, the Spark type that holds the values of labeled rows and of the pool's.
    features
        Input columns of the model.
    classes
        The labels that occur among the labeled rows, ascending; one where labels are numbers.
    label_type
        Spark type of the label column, such as ``string``; of numbers, that of published ones.
    labeled
        Training rows with given labels: keys, features, ``spl_code``, and ``spl_value`` where
        labels are numbers. On the driver.
    validation
        Rows with true labels that no model is trained on, in the same form; empty if there are
        none. Labels the model can't know have code -1.
    pool
        The unlabeled rows: keys and features.
    pool_rows
        How many there are.
    scan
        The same rows as parts that workers read by themselves, or None.
    no_scan
        Why they don't.
    freezing
        Whether the pool is frozen first, and why; None where workers read it as it is.
    refrozen
        Whether it was frozen anew, so that rounds may have found its rows in other places.
    test
        Rows with true labels, or None.
    frozen
        What must not change while the run lasts: file lists and fingerprints, for the store.
    notes
        What a user should know of how the tables were read.
    groups
        Which rows belong together, where a column says it.
    votes
        The column with the votes of rules, in all tables; empty where no rules label the pool.
    rule_columns
        What the rules look at.
    selected
        Which labeled rows were chosen to be labeled, by a queue or an audit: models are trained on
        them, and nothing is measured on them. None: none.
    overlap
        Rows of the pool's table that an earlier generation has seen, and that are left out.
    numbers
        What is asked of labels that are numbers; None: they are classes.
    """

    keys: tuple[str, ...]
    key_types: dict[str, str]
    training_types: dict[str, T.DataType]
    features: tuple[Feature, ...]
    classes: tuple[Label, ...]
    label_type: str
    labeled: pa.Table
    validation: pa.Table
    pool: Table
    pool_rows: int
    scan: Scan | None
    no_scan: str
    test: HeldOutRows | None
    frozen: FrozenInputs
    notes: tuple[Note, ...] = ()
    groups: Groups | None = None
    votes: tuple[Feature, ...] = ()
    rule_columns: tuple[Feature, ...] = ()
    overlap: int = 0
    selected: NDArray[np.bool_] | None = None
    freezing: Choice | None = None
    refrozen: bool = False
    numbers: NumberTask | None = None

    @property
    def seed_features(self) -> tuple[Feature, ...]:
        """What model 1 sees: the votes where rules make it."""
        return self.votes or self.features
