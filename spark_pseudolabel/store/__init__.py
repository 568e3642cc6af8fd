"""What a run leaves on disk: files, manifests, models; never imports pyspark."""
