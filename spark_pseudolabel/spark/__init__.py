"""Moves rows with Spark and decides nothing."""
