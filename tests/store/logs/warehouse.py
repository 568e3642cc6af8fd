"""Iceberg tables of a catalog in memory, their files on the disk."""

from __future__ import annotations

from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import Table


def in_memory(directory: Path) -> Catalog:
    """Return a catalog with a namespace ``db``."""
    catalog = InMemoryCatalog("tests", warehouse=f"file://{directory}/warehouse")
    catalog.create_namespace("db")
    return catalog


def latest(table: Table) -> str:
    """Return the path of a table's latest metadata file."""
    return table.metadata_location.removeprefix("file://")
