"""The command line: options, commands, answers and exit codes.

Libraries that take long to import are imported by the command that needs them.
"""

from spark_pseudolabel.cli.running import main

__all__ = ["main"]
