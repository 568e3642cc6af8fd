"""The command line for spark-submit, with the same arguments.

From a checkout, in an environment with the dependencies (PYSPARK_DRIVER_PYTHON names its Python):

    spark-submit --master spark://host:7077 jobs/pseudolabel.py run conf/adult.yaml

From anywhere else, this file and an archive of the package are enough:

    python -m zipfile -c spark_pseudolabel.zip spark_pseudolabel
    spark-submit --master spark://host:7077 --py-files spark_pseudolabel.zip pseudolabel.py run ...

Executors are sent the package either way. They need its libraries: see the README.
"""

import sys
from pathlib import Path

# Started from a checkout, the package is next door; an installed or shipped one is found first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from spark_pseudolabel.cli import main

if __name__ == "__main__":
    sys.exit(main())
