"""The tool over catalogues on servers: what it does on a file, killed and recovered, and with a database that dies under it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_servers import DatabaseServer, RealDatabase
from server_fixtures import own_database

CONTENT = bytes(range(256)) * 4096
STORES = ("one", "two")

# The tool with a door in front of or behind a method of the catalogue: it says that it is there, and waits for the way to be free.
DOOR = """
import sys, time
from pathlib import Path
from glance_stream.catalogue import Catalogue, engine
from glance_stream.cli import main
from glance_stream.retry import RetryPolicy
method, when, tries, directory, *arguments = sys.argv[1:]
engine.RETRIES = RetryPolicy(tries=int(tries), base=0.05, cap=0.5, budget=60.0)
ready, go = Path(directory, "ready"), Path(directory, "go")
original = getattr(Catalogue, method)

def door(self, *given, **named):
    result = original(self, *given, **named) if when == "after" else None
    if not ready.exists():
        ready.touch()
        while not go.exists():
            time.sleep(0.01)
    return result if when == "after" else original(self, *given, **named)

setattr(Catalogue, method, door)
sys.argv[1:] = arguments
main()
"""


class Site:
    """Two file stores and a catalogue on a server."""

    def __init__(self, directory: Path, database: RealDatabase) -> None:
        self.directory = directory
        self.database = database
        self.config = directory / "site.toml"
        stores = "".join(f'[stores.{name}]\ntype = "file"\npath = "{name}"\n' for name in STORES)
        self.config.write_text(f'default_store = "one"\n[catalogue]\nurl = "{database.url}"\n{stores}')
        (directory / "image").write_bytes(CONTENT)

    def command(self, *arguments: object) -> list[str]:
        return ["--config", str(self.config), *map(str, arguments), "--json"]

    def start(self, *arguments: object, door: tuple[str, str, int] | None = None, stdin: Any = subprocess.DEVNULL) -> Any:
        begin = ["-m", "glance_stream"] if door is None else ["-c", DOOR, *map(str, door), str(self.directory)]
        command = [sys.executable, *begin, *self.command(*arguments)]
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process: Any) -> tuple[int, dict[str, Any]]:
        with process:
            out, err = process.communicate(timeout=100)
        assert b"Traceback" not in err, err.decode()
        return process.returncode, json.loads(out.splitlines()[-1])

    def __call__(self, *arguments: object) -> dict[str, Any]:
        code, result = self.end(self.start(*arguments))
        assert code == 0, result
        return result

    def files(self) -> list[str]:
        """Everything in the stores, hidden files too."""
        places = [self.directory / name for name in STORES]
        return sorted(f"{place.name}/{path.name}" for place in places if place.exists() for path in place.iterdir())

    def recorded(self) -> list[str]:
        """What the database itself says that the stores hold, of images that are active."""
        rows = self.database.query(
            "SELECT store_id, url FROM image_locations JOIN images ON images.id = image_id WHERE status = 'active'"
        )
        return sorted(f"{store_id}/{url.rpartition('/')[2]}" for store_id, url in rows)

    def require_settled(self) -> None:
        """Nothing held, nothing half done, nothing in a store that is not recorded, and the other way round."""
        for table in ("tasks", "operations", "journal", "leftovers"):
            assert self.database.query(f"SELECT count(*) FROM {table}") == [(0,)], table
        assert self.database.query("SELECT count(*) FROM images WHERE status NOT IN ('queued', 'active')") == [(0,)]
        assert self.files() == self.recorded()
        for file in self.files():
            assert (self.directory / file).read_bytes() == CONTENT


@pytest.fixture
def site(tmp_path: Path, database: RealDatabase) -> Site:
    return Site(tmp_path, database)


def test_an_image_from_import_to_deletion(site: Site) -> None:
    image_id = site("import", site.directory / "image", "--store", "one")["image_id"]
    site("copy", image_id, "--to", "two")
    assert site.recorded() == [f"one/{image_id}", f"two/{image_id}"]
    site.require_settled()
    site("verify", image_id)
    site("delete", image_id)
    assert site.database.query("SELECT count(*) FROM images") == [(0,)]
    site.require_settled()


def test_an_import_that_was_killed_is_recovered(site: Site) -> None:
    door = ("committed", "before", 1)
    process = site.start("import", site.directory / "image", "--all-stores", door=door)
    wait_for(process, site.directory / "ready")
    process.kill()
    with process:
        process.communicate(timeout=100)
    assert site.files()  # one store's object, at least, was there
    site("recover")
    site.require_settled()
    assert site.files() == []
    site("import", site.directory / "image", "--all-stores")
    assert len(site.files()) == 2
    site.require_settled()


# Recording steps, shared out among the servers.
STEPS = [
    ("mariadb", "create_and_begin", "after"),
    ("postgresql", "opened", "after"),
    ("mariadb", "verified", "after"),
    ("postgresql", "committed", "before"),
    ("mariadb", "record_success", "before"),
    ("postgresql", "record_success", "after"),
]


@pytest.mark.parametrize(("server", "step", "when"), STEPS)
def test_a_database_that_dies_in_an_import(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, step: str, when: str
) -> None:
    """And stays away for longer than anybody waits: what is left, `recover` brings in order once it is back."""
    real: DatabaseServer = request.getfixturevalue(server)
    with own_database(real) as database:
        site = Site(tmp_path, database)
        site("list")
        process = site.start("import", site.directory / "image", "--all-stores", door=(step, when, 2))
        wait_for(process, site.directory / "ready")
        with real.killed():
            (site.directory / "go").touch()
            code, result = site.end(process)
        recorded = (step, when) == ("record_success", "after")
        assert (code == 0) == recorded, result
        site("recover")
        site.require_settled()
        assert bool(site.files()) == recorded


@pytest.mark.parametrize(("server", "step"), [("postgresql", "verified"), ("mariadb", "committed")])
def test_a_database_that_is_started_again_in_an_import(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, step: str
) -> None:
    """It is waited for, and nobody notices."""
    real: DatabaseServer = request.getfixturevalue(server)
    with own_database(real) as database:
        site = Site(tmp_path, database)
        process = site.start("import", site.directory / "image", "--all-stores", door=(step, "before", 1000))
        wait_for(process, site.directory / "ready")
        with real.killed():
            (site.directory / "go").touch()
            time.sleep(0.5)
            assert process.poll() is None
        assert site.end(process)[0] == 0
        assert len(site.files()) == 2
        site.require_settled()


def wait_for(process: Any, file: Path) -> None:
    until(lambda: file.exists() or process.poll() is not None)
    assert file.exists(), process.communicate()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
