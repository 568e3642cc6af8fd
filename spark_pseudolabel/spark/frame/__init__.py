"""The DataFrame backend: whatever Spark can read, scored through Arrow batches."""
