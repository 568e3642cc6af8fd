"""Tables that keep a log: which files a version of them has, and which rows of these are deleted.

Read on the driver, without Spark, by the libraries of the formats: Delta's and Iceberg's.
"""
