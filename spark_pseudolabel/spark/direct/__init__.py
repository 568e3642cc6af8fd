"""The direct scan: Spark schedules parts of Parquet files, its workers read them themselves."""
