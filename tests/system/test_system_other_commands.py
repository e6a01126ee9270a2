"""Every system call that delete, verify, recover, sweep and check make in one of the stores fails, one run for each."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_points import ALL, ERRORS, Fresh, assert_told, at, below, recover
from faults.preload import Ended, ForkServer, Rule
from system_home import BYTES, IMAGE_ID, IMPORT, RECOVER, Home, with_config

DELETE = ("delete", IMAGE_ID, "--json")
VERIFY = ("verify", IMAGE_ID, "--json")
SWEEP = ("recover", "--sweep", "--older-than", "1h", "--json")
CHECK = ("check", "--size", "64KiB", "--json")
STRAY = ".3b4e28ba-2fa1-11d2-883f-0016d3cca427.0123456789abcdef.part"
STORE = "two*"

Prepare = Callable[[], Home]


def points(server: ForkServer, prepare: Prepare, command: tuple[str, ...]) -> Iterator[tuple[Home, Ended, Rule]]:
    """A run for each call that this command makes in store two, with what came of it."""
    home = prepare()
    seen = home.directory / "seen"
    ended = server.run(with_config(command), home.directory, watch=f"{home.directory}/{STORE}", seen=seen)
    assert ended.code == 0, ended
    calls = [line.split()[0] for line in seen.read_text().splitlines()]
    assert calls
    for call in sorted({*calls} & {*ERRORS}):
        for number in range(1, calls.count(call) + 1) if ALL else sorted({1, calls.count(call)}):
            rule = Rule(call, number, errno.EIO, STORE)
            home = prepare()
            with at(command[0], rule):
                ended = server.run(with_config(command), home.directory, rules=[below(home, rule)])
                assert "Traceback" not in ended.err
                assert "this is a bug" not in ended.out, ended
                yield home, ended, rule


@pytest.fixture
def full(server: ForkServer, fresh: Fresh) -> Prepare:
    """The image is in all three stores."""

    def prepare() -> Home:
        home = fresh(IMPORT)
        assert server.run(with_config(IMPORT), home.directory).code == 0
        return home

    return prepare


def locations(home: Home) -> set[Path]:
    connection = sqlite3.connect(home.directory / "catalogue.db")
    urls = [url for (url,) in connection.execute("select url from image_locations")]
    connection.close()
    return {Path(url.removeprefix("file://")) for url in urls}


def test_delete(server: ForkServer, full: Prepare) -> None:
    """No location without its bytes, whatever fails; and the next try ends it."""
    for home, ended, rule in points(server, full, DELETE):
        assert ended.code in (0, 4, 5), ended
        if ended.code:
            assert_told(ended, "two", os.strerror(rule.error))
        assert all(path.read_bytes() == BYTES for path in locations(home))
        if ended.code:
            again = server.run(with_config(DELETE), home.directory)
            assert again.code == 0, again
        assert home.files() == []


def test_verify(server: ForkServer, full: Prepare) -> None:
    """What can't be read is told as such, and changes nothing."""
    for home, ended, _ in points(server, full, VERIFY):
        assert ended.code in (0, 4), ended
        verdicts = {one["store"]: one["verdict"] for one in ended.result["checked"]}
        assert (verdicts["one"], verdicts["three"]) == ("good", "good")
        assert verdicts["two"] == ("unreadable" if ended.code else "good")
        home.assert_done()


def test_recover(server: ForkServer, fresh: Fresh) -> None:
    """What it can't remove stays on record, for the next one."""

    def interrupted() -> Home:
        home = fresh(IMPORT)
        # Its end could be recorded no more, nor that of its rollback, which could remove nothing either.
        rules = [Rule("link", 1, errno.EIO, "*"), Rule("unlink", 1, errno.EIO, "*/.*.part", "on")]
        ended = server.run(with_config(IMPORT), home.directory, rules=[*rules])
        assert ended.code == 5, ended
        return home

    for home, ended, _ in points(server, interrupted, RECOVER):
        assert ended.code in (0, 5), ended
        assert (ended.code == 5) == bool(ended.result["leftovers"])
        recover(server, home)
        home.assert_as_before()


def test_sweep(server: ForkServer, fresh: Fresh) -> None:
    """A stray is swept or told; one store's failure keeps no other from being swept."""

    def littered() -> Home:
        home = fresh(IMPORT)
        old = time.time() - 7200
        for store in ("one", "two"):
            path = home.directory / store / STRAY
            path.write_bytes(b"a stray")
            os.utime(path, (old, old))
        return home

    for home, ended, _ in points(server, littered, SWEEP):
        assert ended.code in (0, 5), ended
        assert f"one/{STRAY}" not in home.files()
        assert ended.code == 5 or home.files() == []
        recover(server, home)
        assert server.run(with_config(SWEEP), home.directory).code == 0
        assert home.files() == []


def test_check(server: ForkServer, fresh: Fresh) -> None:
    """What it has written to try the store out is removed, or told."""
    for home, ended, _ in points(server, lambda: fresh(IMPORT), CHECK):
        assert ended.code in (0, 3, 4, 5), ended
        assert ended.code == 5 or home.files() == []
