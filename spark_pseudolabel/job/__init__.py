"""Runs: the loop over rounds and the steps it is made of."""

from spark_pseudolabel.job.generations import run
from spark_pseudolabel.job.labeling import label
from spark_pseudolabel.job.loop import Result
from spark_pseudolabel.job.preview import plan

__all__ = ["Result", "label", "plan", "run"]
