"""What the methods of this package buy, measured in memory: ``scripts/evaluate``."""
