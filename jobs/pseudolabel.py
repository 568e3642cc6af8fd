"""The command line for spark-submit, with the same arguments.

spark-submit --master spark://host:7077 jobs/pseudolabel.py run conf/adult.yaml --result out.json
"""

import sys
from pathlib import Path

# Started from a checkout, the package is next door; an installed or shipped one is found first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from spark_pseudolabel.cli import main

if __name__ == "__main__":
    sys.exit(main())
