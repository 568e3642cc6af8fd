"""What a run may take place on, and a run there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.driver import Driver
from tests.cluster.tables import configuration, write_configuration

MB = 1 << 20
# Every file has several row groups of some 8 kB: partitions of this size split it.
TINY = 16384


@dataclass(frozen=True)
class Shape:
    master: str
    partition_bytes: int
    batch_rows: int
    adaptive: bool
    scan: str = "spark"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "spark.sql.files.maxPartitionBytes": str(self.partition_bytes),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(self.batch_rows),
            "spark.sql.adaptive.enabled": str(self.adaptive).lower(),
        }

    def __str__(self) -> str:
        adaptive = "adaptive" if self.adaptive else "fixed"
        return f"{self.master}-{self.partition_bytes}B-{self.batch_rows}rows-{adaptive}-{self.scan}"

    def run(self, driver: Driver, tables: Path, directory: Path, **sections: Any) -> Path:
        """Run a configuration in this shape, by a driver of its master; return the output."""
        output = directory / "out"
        sections["spark"] = {"conf": self.settings}
        sections["unlabeled"] = {"path": str(tables / "pool"), "scan": self.scan}
        conf = write_configuration(
            directory / "conf.yaml", configuration(tables, output, **sections)
        )
        outcome = driver.command("run", conf, result=directory / "result.json")
        assert outcome.exit_code == 0, outcome.document
        return output
