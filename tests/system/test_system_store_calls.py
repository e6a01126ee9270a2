"""Every system call that an import or a copy makes in one of its stores fails, one run for each.

The library that does it (``faults/preload``) stands between the program and libc, so that it also catches what the compiled lanes
do. However it ends, the exit code says what is: 0 done in all stores; 4 as before, nothing left; 5 what is left is on record.
"""

from __future__ import annotations

import errno
import os

import pytest
from fault_points import EACH_COMMAND, SOME_COMMANDS, Fresh, assert_told, at, below, count, numbers, recover, single, special
from faults.preload import ForkServer, Rule
from system_home import IMPORT, Home, with_config

STORE = "two*"  # the directory itself is synced too
CALLS = ("create", "write", "ftruncate", "fsync", "link", "unlink", "open", "close")
# Without hard links it is a rename.
NO_LINKS = Rule("link", 1, errno.EPERM, STORE, "on")


def forgiven(rule: Rule) -> bool:
    """All bytes were synced before the file is closed: an error there says nothing of them."""
    return rule.call == "close"


def run_point(server: ForkServer, home: Home, command: tuple[str, ...], *rules: Rule) -> int:
    """One run; whatever its exit code says is true, and the first rule's error is the one that is told."""
    first = rules[0]
    ended = server.run(with_config(command), home.directory, rules=[below(home, rule) for rule in rules])
    if ended.code == 0:
        assert forgiven(first)
        home.assert_done()
        return 0
    assert_told(ended, "store 'two'", os.strerror(first.error))
    if ended.code == 5:
        home.assert_left()
        assert {one["store"] for one in ended.result["leftovers"]} == {"two"}
        recover(server, home)
    else:
        assert ended.code == 4, ended
    home.assert_as_before()
    return ended.code


@EACH_COMMAND
@pytest.mark.parametrize("call", CALLS)
def test_each_call_fails_once(server: ForkServer, fresh: Fresh, command: tuple[str, ...], call: str) -> None:
    made = count(server, fresh, command, STORE)[call]
    assert made
    for number in numbers(made, 2):
        for rule in single(call, number, STORE):
            with at(rule):
                code = run_point(server, fresh(command), command, rule)
                assert code in (0, 4), "one fault leaves nothing behind: what it keeps from being removed is tried again"


@SOME_COMMANDS
@pytest.mark.parametrize("call", CALLS)
def test_each_call_fails_for_good_or_after_it_took_effect(
    server: ForkServer, fresh: Fresh, command: tuple[str, ...], call: str
) -> None:
    for number in numbers(count(server, fresh, command, STORE)[call], 2):
        for rule in special(call, number, STORE):
            with at(rule):
                run_point(server, fresh(command), command, rule)


@SOME_COMMANDS
@pytest.mark.parametrize("call", sorted({*CALLS} - {"unlink"}))
def test_the_undo_fails_too(server: ForkServer, fresh: Fresh, command: tuple[str, ...], call: str) -> None:
    """The first cause is still what is told; what is left is on record, and `recover` removes it once it can."""
    made = count(server, fresh, command, STORE)[call]
    for number in numbers(made, 1):
        # The commit itself removes the temporary name, before the directory is synced.
        after_that = call in ("open", "close") or (call == "fsync" and number == made)
        fault = Rule(call, number, errno.EDQUOT, STORE)
        undo = Rule("unlink", 2 if after_that else 1, errno.EIO, STORE, "on")
        with at(fault, undo):
            code = run_point(server, fresh(command), command, fault, undo)
            assert code == 5 or (forgiven(fault) and code == 0)


@EACH_COMMAND
def test_without_hard_links(server: ForkServer, fresh: Fresh, command: tuple[str, ...]) -> None:
    made = count(server, fresh, command, STORE, Rule("link", 1, errno.EPERM, "*", "on"))
    assert made["rename"] == 1
    for rule in (*single("rename", 1, STORE), *special("rename", 1, STORE)):
        with at(rule):
            assert run_point(server, fresh(command), command, rule, NO_LINKS) == 4


@EACH_COMMAND
def test_a_short_write_is_gone_on_with(server: ForkServer, fresh: Fresh, command: tuple[str, ...]) -> None:
    home = fresh(command)
    rules = [below(home, Rule("write", number, 0, "two/*", "short")) for number in (1, 2, 5, 6)]
    assert server.run(with_config(command), home.directory, rules=rules).code == 0
    home.assert_done()


def test_writes_without_the_page_cache_are_caught(server: ForkServer, fresh: Fresh) -> None:
    """Or nothing above would say anything of them."""
    made = count(server, fresh, IMPORT, "two/*")
    if not made["direct"]:
        pytest.skip("this file system has no direct I/O: run with --basetemp on ext4 or xfs")
    assert made["direct"] >= 3
    assert made["write"] > made["direct"], "the tail that is no whole block"
