"""Spark's daemon of Python workers, which has imported what scoring needs before it forks them.

Spark's own starts each worker bare. That costs every worker seconds for scikit-learn and pandas, at
the start of a run and again in each round after a long fit, since Spark ends workers that were idle
for a minute. Where driver and workers share a machine, the one that imports can be the daemon.
"""

from __future__ import annotations

import gc
from pathlib import Path

from spark_pseudolabel.spark.startup.warm_up import import_all

MODULE = "spark_pseudolabel.spark.startup.daemon"
KEY = "spark.python.daemon.module"
PATH = "spark.executorEnv.PYTHONPATH"
_IMPORTED = (
    "pyspark.worker",
    "spark_pseudolabel.spark.direct.tasks",
    "pandas",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
)


def settings() -> dict[str, str]:
    """Return the settings of a session on this machine that let Spark start this daemon."""
    home = Path(__file__).parents[3]
    # An interpreter finds installed packages itself.
    path = {} if home.name.endswith("-packages") else {PATH: str(home)}
    return {KEY: MODULE, **path}


def main() -> None:
    """Import, then do what Spark's daemon does."""
    # Asked for by name, since Spark's daemon looks at the command line when it is imported.
    from pyspark.daemon import manager

    import_all(_IMPORTED)
    # What is imported stays: no worker's garbage collector has to look at it.
    gc.freeze()
    manager()


if __name__ == "__main__":
    main()
