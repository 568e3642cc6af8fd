"""What reads an output without Spark: status, explanations, and whether anything is left to do."""
