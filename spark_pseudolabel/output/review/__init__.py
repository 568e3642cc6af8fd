"""People in the loop of a finished run: rows to ask about, answers, labels taken back; no Spark."""
