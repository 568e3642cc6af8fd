"""``verify``: whether all files of an output are there, whole and unchanged."""

from __future__ import annotations

from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.report.document import FileProblem, VerifyDocument
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.verify import verify_output


def check_output(out: str, deep: bool = False, *, opened: Opened | None = None) -> VerifyDocument:
    """Check an output against its manifests.

    Parameters
    ----------
    out
        The output.
    deep
        Also read the contents of its files.
    opened
        The output, if the caller has opened it.

    Raises
    ------
    InputError
        If there is no run.
    """
    files, root = opened or open_files(out)
    result = verify_output(files, root, deep)
    return VerifyDocument(
        output=out,
        ok=result.ok,
        deep=deep,
        checked=result.checked,
        problems=[FileProblem(**problem._asdict()) for problem in result.problems],
    )
