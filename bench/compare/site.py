"""A site of our own for a job: file stores and a SQLite catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glance_stream.config import load
from glance_stream.importing import Site


def open_site(directory: Path, stores: Sequence[Path]) -> Site:
    """The first store is the default one. Catalogue and configuration lie in ``directory``, which holds neither yet."""
    tables = "".join(f'[stores.s{number}]\ntype = "file"\npath = "{path}"\n' for number, path in enumerate(stores))
    file = directory / "config.toml"
    file.write_text(f'default_store = "s0"\n[catalogue]\nurl = "sqlite:///{directory}/catalogue.db"\n{tables}')
    return Site.open(load(file))
