"""Compiled prediction for boosted trees: the library's own bits, in a fraction of its time."""
