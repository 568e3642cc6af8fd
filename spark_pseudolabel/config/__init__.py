"""The configuration: one frozen model per section, read once, checked once, every problem reported.

Nothing here imports pyspark or scikit-learn, so that a wrong key costs no JVM, and no more does
an estimator's name that is misspelled; its class and parameters are looked up where it is named.
"""

from __future__ import annotations

from spark_pseudolabel.config.documents import config_schema, identity, public
from spark_pseudolabel.config.parsing import load_config, parse_config
from spark_pseudolabel.config.sections import (
    Config,
    Features,
    Model,
    SparkSettings,
    TaughtRows,
    TestTable,
    UnlabeledTable,
    Validation,
)

__all__ = [
    "Config",
    "Features",
    "Model",
    "SparkSettings",
    "TaughtRows",
    "TestTable",
    "UnlabeledTable",
    "Validation",
    "config_schema",
    "identity",
    "load_config",
    "parse_config",
    "public",
]
