"""The command line tool as a process, over a configuration made of places."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from real_places import Place


class Tool:
    """``changed``: options of a store that differ from its place's own."""

    def __init__(
        self, directory: Path, places: Sequence[Place], changed: Mapping[str, Mapping[str, Any]] | None = None, top: str = ""
    ) -> None:
        self.places = {place.store_id: place for place in places}
        self._config = directory / "site.toml"
        sections = [place.section(**(changed or {}).get(place.store_id, {})) for place in places]
        self._config.write_text("\n".join(['[catalogue]\nurl = "sqlite:///catalogue.db"\n', top, *sections]))

    def start(self, *arguments: object, stdin: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "glance_stream", "--config", self._config, *map(str, arguments), "--json"]
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
        """The exit code and the result event."""
        with process:
            out, _ = process.communicate(timeout=100)
        result = json.loads(out.splitlines()[-1])
        assert result["event"] == "result"
        return process.returncode, result

    def __call__(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        return self.end(self.start(*arguments))

    def left(self) -> dict[str, list[str]]:
        """What each store's own client finds in it; stores that are empty are left out."""
        found = {store_id: place.objects() for store_id, place in self.places.items()}
        return {store_id: objects for store_id, objects in found.items() if objects}
