"""``python -m spark_pseudolabel`` is ``spark-pseudolabel``."""

import sys

from spark_pseudolabel.cli import main

if __name__ == "__main__":
    sys.exit(main())
