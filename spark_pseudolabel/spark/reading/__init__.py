"""Reading tables as users name them: files, directories, catalog tables, queries."""
