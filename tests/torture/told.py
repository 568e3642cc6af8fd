"""What every torture of whole runs ends with: one JSON document, and 1 if anything was violated."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def tell(torture: Callable[[Path], dict[str, Any]]) -> int:
    """Do a torture in a directory of its own and print what it came to; return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        found = torture(Path(name))
    json.dump(found | {"seconds": round(time.monotonic() - started, 1)}, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(bool(found["violations"]))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C: with all that was started."""
    raise KeyboardInterrupt
