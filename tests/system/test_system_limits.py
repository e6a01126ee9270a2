"""Limits of the process, swept: descriptors, address space, size of files, threads. It works, or says what is lacking."""

from __future__ import annotations

import errno
import re
import signal

import pytest
from fault_points import ALL, SOME_COMMANDS, Fresh, at, recover
from faults.preload import Ended, ForkServer, Rule
from system_home import Home, with_config


def assert_clean(server: ForkServer, home: Home, ended: Ended) -> None:
    """The exit code is true at once or, where it says so, once `recover` has run. No signal, no traceback, no hang."""
    assert ended.code in (0, 2, 4, 5), ended
    assert "Traceback" not in ended.err + ended.out
    assert "this is a bug" not in ended.out, ended
    if ended.code == 0:
        home.assert_done()
    elif ended.code == 5 or "catalogue" in ended.out:  # or it could not record the failure
        recover(server, home)
        home.assert_whole()
    else:
        home.assert_as_before()


@SOME_COMMANDS
def test_every_number_of_descriptors(server: ForkServer, fresh: Fresh, command: tuple[str, ...]) -> None:
    """From one at which nothing can be opened to one with which it works."""
    done = 0
    for number in range(3, 48):
        home = fresh(command)
        ended = server.run(with_config(command), home.directory, limits={"RLIMIT_NOFILE": number})
        with at(f"{number} descriptors"):
            assert_clean(server, home, ended)
            done += ended.code == 0
            assert ended.code == 0 or re.search("too many open files", ended.result["error"]["message"], re.IGNORECASE), ended
        if done == 3:
            return
    raise AssertionError("it never worked")


def waits_for_a_stillborn_thread(ended: Ended) -> bool:
    """CPython's own: `Thread.start` waits for ever for a thread whose memory ends in its first steps. It can only be killed."""
    return ended.code == -signal.SIGALRM and "Exception ignored in thread started by: <bound method Thread._bootstrap" in ended.err


@SOME_COMMANDS
def test_any_amount_of_memory(server: ForkServer, fresh: Fresh, command: tuple[str, ...]) -> None:
    """MiB above what it has when it starts. Threads take their stacks from it, so more is not always enough."""
    codes = []
    for amount in (*range(0, 250, 2 if ALL else 25), 1024):
        home = fresh(command)
        ended = server.run(with_config(command), home.directory, limits={"RLIMIT_AS": amount << 20}, seconds=20)
        with at(f"{amount} MiB"):
            if waits_for_a_stillborn_thread(ended):
                recover(server, home)
                home.assert_whole()
            else:
                assert_clean(server, home, ended)
        codes.append(ended.code)
    assert codes[0] != 0
    assert codes[-1] == 0


@SOME_COMMANDS
@pytest.mark.parametrize("size", [0, 60_000, 100_000, 150_249])
def test_a_limit_to_the_size_of_files(server: ForkServer, fresh: Fresh, command: tuple[str, ...], size: int) -> None:
    """EFBIG in stores, catalogue and standard output alike."""
    home = fresh(command)
    ended = server.run(with_config(command), home.directory, limits={"RLIMIT_FSIZE": size})
    assert ended.code in (4, 5), ended
    recover(server, home)
    home.assert_whole()


@SOME_COMMANDS
@pytest.mark.parametrize("mode", ["once", "on"])
def test_a_thread_that_can_not_be_started(server: ForkServer, fresh: Fresh, command: tuple[str, ...], mode: str) -> None:
    for number in range(1, 12 if ALL else 7):
        rule = Rule("thread", number, errno.EAGAIN, "*", mode)
        home = fresh(command)
        ended = server.run(with_config(command), home.directory, rules=[rule])
        with at(rule):
            assert_clean(server, home, ended)
            assert ended.code == 0 or "thread" in ended.result["error"]["message"]


def test_what_is_told_where_a_thread_can_not_be_started(server: ForkServer, fresh: Fresh) -> None:
    command = ("list",)
    ended = server.run(with_config(command), fresh(command).directory, rules=[Rule("thread", 1, errno.EAGAIN, "*", "on")])
    assert (ended.code, ended.out) == (5, "")
    assert "no more threads can be started: 'glance-stream recover' undoes" in ended.err
