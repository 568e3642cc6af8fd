"""What is kept around the work of a command: silence of libraries, order on signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings

import pytest

from spark_pseudolabel.cli.answers import Answer
from spark_pseudolabel.cli.options import AnswerOptions
from spark_pseudolabel.cli.parsing import Task
from spark_pseudolabel.cli.running import answered
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.report.document import InitDocument


def test_what_libraries_and_their_threads_say_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails() -> Answer:
        logging.getLogger("py4j").error("Exception while sending command.")
        warnings.warn("soon", FutureWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise InputError("Pool lacks columns ['age'].")

    assert answered(Task(fails, AnswerOptions())) == 3
    assert capsys.readouterr() == ("", "Pool lacks columns ['age'].\n")
    assert logging.root.manager.disable < logging.CRITICAL


def test_sigterm_ends_the_work_in_order() -> None:
    def terminated() -> Answer:
        os.kill(os.getpid(), signal.SIGTERM)
        return Answer(InitDocument(file="c.yaml"), "never told")

    before = signal.getsignal(signal.SIGTERM)
    assert answered(Task(terminated, AnswerOptions())) == 143
    assert signal.getsignal(signal.SIGTERM) == before
