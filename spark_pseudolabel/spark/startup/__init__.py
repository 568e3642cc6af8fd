"""Starting a session: the JVM, its workers, and the libraries of the executors."""
