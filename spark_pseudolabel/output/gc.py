"""``gc``: what crashes left in an output."""

from __future__ import annotations

from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.report.document import GarbageItem, GcDocument
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.gc import OLDER_THAN_S, collect


def collect_garbage(
    out: str,
    *,
    delete: bool = False,
    older_than_s: float = OLDER_THAN_S,
    retain: int | None = None,
    opened: Opened | None = None,
) -> GcDocument:
    """List what crashes left behind, and delete it if asked to.

    Parameters
    ----------
    out
        The output.
    delete
        False for a dry run.
    older_than_s
        Leave alone what was changed in the last so many seconds.
    retain
        Of an incremental run, the latest generations whose scored rows are kept; None: all.
    opened
        The output, if the caller has opened it: what `open_files` gives cannot delete from an
        object store.

    Raises
    ------
    InputError
        If there is no run, or it cannot be written to.
    OutputBusyError
        If a live run holds the output.
    StoredStateError
        If the manifests cannot be read.
    """
    files, root = opened or open_files(out)
    collected = collect(files, root, delete=delete, older_than_s=older_than_s, retain=retain)
    return GcDocument(
        output=out,
        deleted=delete,
        older_than_s=older_than_s,
        items=[
            GarbageItem(path=item.path, kind=item.kind, files=item.files, bytes=item.bytes)
            for item in collected.items
        ],
        files=sum(item.files for item in collected.items),
        bytes=sum(item.bytes for item in collected.items),
        too_young=collected.too_young,
    )
