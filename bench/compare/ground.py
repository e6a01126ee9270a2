"""Where things lie: one directory on the disk that is measured, and in it sources, stores and room for anything else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Ground:
    """``root``: ours alone, on the disk that is measured. ``size``: of the image in bytes, which sources are made for.

    Lives in the program and, pickled, in each job's process: it holds nothing but names.
    """

    root: Path
    size: int

    def source(self, name: str) -> Path:
        """The source of that name at this size. It is there if the job names it in its ``sources`` (see sources/)."""
        return self.root / "sources" / f"{name}-{self.size}"

    def stores(self, count: int) -> list[Path]:
        """So many directories, empty at the beginning of each job. What lies in them at its end is removed, untimed."""
        paths = [self.root / "stores" / str(number) for number in range(count)]
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
        return paths

    def work(self) -> Path:
        """A directory for anything else (a catalogue, a configuration), emptied as the stores are."""
        path = self.root / "work"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def sized(self, size: int) -> Ground:
        """The same place with images of another size: for a workload that isn't run at the run's own."""
        return replace(self, size=size)

    def digest(self, name: str, algorithm: str) -> str:
        """Of a source's bytes, computed when first asked for. Ask before the watch starts."""
        known = self.root / "sources" / f"{name}-{self.size}.{algorithm}"
        if not known.exists():
            with self.source(name).open("rb") as file:
                known.write_text(hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest())
        return known.read_text()
