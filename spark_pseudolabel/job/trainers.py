"""Who trains, and what follows from that."""

from __future__ import annotations

from pyspark.sql import SparkSession

from spark_pseudolabel.config import Config
from spark_pseudolabel.job.dealt_training import ClusterLearner, DealtTrainer, StreamLearner
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.training import DriverTrainer, Trainer
from spark_pseudolabel.report.document import Notice
from spark_pseudolabel.spark.engines import ENGINES, require_workers
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.store.store import RoundStore

_SAME_WITH = 2
"""Up to so many workers the order in which their sums arrive does not matter: a + b is b + a."""


def trainer_of(setting: Setting, store: RoundStore, pool: Pool) -> Trainer:
    """Choose who trains, as the configuration says."""
    training, weighted = setting.config.training, setting.weighting.needed
    if training.on == "cluster":
        engine = ENGINES[setting.config.model.learner.estimator]
        learner = ClusterLearner(engine, training.workers or 1, weighted)
        return DealtTrainer(setting, store, pool, learner)
    if training.max_rows is None and not setting.like_sklearn:
        return DealtTrainer(setting, store, pool, StreamLearner(weighted))
    return DriverTrainer(setting, store, pool)


def require_trainable(spark: SparkSession, config: Config) -> None:
    """Refuse a session on which the configured training can't run, before anything is fitted.

    Raises
    ------
    InputError
        Naming the key of the configuration.
    """
    training = config.training
    if training.on == "cluster":
        engine = ENGINES[config.model.learner.estimator]
        require_workers(spark, engine, training.workers or 1)


def training_notices(config: Config) -> list[Notice]:
    """Tell where the same configuration need not give the same labels each time."""
    training, name = config.training, config.model.learner.estimator
    if training.on != "cluster" or ENGINES[name].at_once:
        return []
    if (training.workers or 1) <= _SAME_WITH:
        return []
    return [
        Notice.about(
            "labels_may_vary",
            f"Spark ML adds the sums of training.workers: {training.workers} in the order in "
            f"which they arrive, so that {name} may differ in the last digits from run to run, and "
            f"labels near the cut with it. With {_SAME_WITH} workers at most they are the same.",
        )
    ]
