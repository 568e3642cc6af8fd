"""Decisions and arithmetic: numpy, pandas, pyarrow and scikit-learn, never Spark."""
