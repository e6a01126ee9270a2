"""Every write, fsync and truncation of the catalogue's own files fails (SQLite: the database and its write-ahead log).

Whatever the exit code: the image was imported or it was not, and after `recover`, the fault gone, nothing is left of the other.
"""

from __future__ import annotations

import errno
import os

import pytest
from fault_points import ALL, SOME_COMMANDS, Fresh, at, below, count, numbers, recover
from faults.preload import ForkServer, Rule
from system_home import IMPORT, Home, with_config

CATALOGUE = "catalogue.db*"
ERRORS = {"write": (errno.ENOSPC, errno.EIO), "fsync": (errno.EIO, errno.ENOSPC), "ftruncate": (errno.EIO,)}
SAMPLE = 4  # points of each kind in the short form


def run_point(server: ForkServer, home: Home, command: tuple[str, ...], rule: Rule) -> None:
    ended = server.run(with_config(command), home.directory, rules=[below(home, rule)])
    assert ended.code in (0, 2, 4, 5, 6), ended  # 2: the catalogue could not even be opened
    assert "Traceback" not in ended.err
    assert "this is a bug" not in ended.out
    if ended.code == 0:
        if "catalogue" not in ended.out:  # as a warning: then that it let go of the image is not on record
            home.assert_done()
    else:
        assert "catalogue" in ended.result["error"]["message"], "says what failed"
        if ended.code == 4:
            home.assert_as_before()
    recover(server, home)
    home.assert_whole()
    if ended.code == 0:
        home.assert_done()


@SOME_COMMANDS
@pytest.mark.parametrize("call", sorted(ERRORS))
@pytest.mark.parametrize("mode", ["once", "on"])
def test_each_call_on_the_catalogue_fails(server: ForkServer, fresh: Fresh, command: tuple[str, ...], call: str, mode: str) -> None:
    made = count(server, fresh, command, CATALOGUE)[call]
    assert made
    for number in numbers(made, SAMPLE):
        errors = ERRORS[call]
        for error in errors if ALL else errors[number % len(errors) :][:1]:
            rule = Rule(call, number, error, CATALOGUE, mode)
            with at(rule):
                run_point(server, fresh(command), command, rule)


def test_a_catalogue_that_is_full_says_so(server: ForkServer, fresh: Fresh) -> None:
    home = fresh(IMPORT)
    rule = Rule("write", 1, errno.ENOSPC, "catalogue.db-wal", "on")
    ended = server.run(with_config(IMPORT), home.directory, rules=[below(home, rule)])
    assert "there is no space left for it" in ended.result["error"]["message"]
    home.assert_as_before()


def test_a_catalogue_whose_disk_fails_says_so(server: ForkServer, fresh: Fresh) -> None:
    home = fresh(IMPORT)
    rule = Rule("fsync", 1, errno.EIO, "catalogue.db-wal", "on")
    ended = server.run(with_config(IMPORT), home.directory, rules=[below(home, rule)])
    assert "reading or writing its file failed" in ended.result["error"]["message"], os.strerror(errno.EIO)
    recover(server, home)
    home.assert_as_before()
