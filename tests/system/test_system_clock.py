"""The clock of the day jumps: a day, to 1970, to 2100.

What is waited for goes by another clock, and what was recorded does not depend on its order in time.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_points import ALL, SOME_COMMANDS, Fresh, at, below, recover
from faults.preload import CLOCK, ForkServer, Rule
from meanwhile import Meanwhile
from system_home import IMPORT, RECOVER, Home, with_config

DAY = 24 * 3600
JUMPS = {"a day on": DAY, "a day back": -DAY, "1970": 3600 - int(time.time()), "2100": 4102444800 - int(time.time())}
JUMP = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
SWEEP = ("recover", "--sweep", "--older-than", "1h", "--json")


def beside(home: Home, preload: Path, command: tuple[str, ...], jump: int) -> subprocess.CompletedProcess[bytes]:
    """Another process, whose clock is off from its start on."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(preload),
        CLOCK: f"1 {jump}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    program = [sys.executable, "-m", "glance_stream", *with_config(command)]
    return subprocess.run(program, cwd=home.directory, env=environment, capture_output=True, timeout=100, check=False)


@JUMP
@SOME_COMMANDS
def test_a_jump_in_mid_operation(server: ForkServer, fresh: Fresh, command: tuple[str, ...], jump: int) -> None:
    for number in (1, 2, 4, 8, 16, 32, 64) if ALL else (2, 20):
        home = fresh(command)
        with at(f"question {number}, {jump} s"):
            ended = server.run(with_config(command), home.directory, clock=f"{number} {jump}")
            assert ended.code == 0, ended
            home.assert_done()


@JUMP
def test_a_jump_before_and_in_recover(server: ForkServer, fresh: Fresh, jump: int) -> None:
    """After an import that ended without a record of its end."""
    for number in (1, 5):
        home = fresh(IMPORT)
        fault = below(home, Rule("fsync", 5, errno.EIO, "catalogue.db-wal", "on"))
        assert server.run(with_config(IMPORT), home.directory, rules=[fault]).code in (4, 5)
        ended = server.run(with_config(RECOVER), home.directory, clock=f"{number} {jump}")
        assert ended.code == 0, ended
        home.assert_as_before()


@JUMP
def test_a_sweep_whose_clock_has_jumped_spares_what_is_on_record(
    server: ForkServer, fresh: Fresh, preload: Path, jump: int
) -> None:
    """By the record of the running import: its file looks a day old, or older. That of another catalogue's would go."""
    home = fresh(IMPORT)
    told: list[subprocess.CompletedProcess[bytes]] = []
    with Meanwhile(home, lambda: told.append(beside(home, preload, SWEEP, jump))):
        ended = server.run(with_config(IMPORT), home.directory)
    home.assert_whole()
    # 6: by that clock, which on SQLite is the database's too, the lease is over, and `recover` has taken the image over.
    assert ended.code == 0 or (ended.code == 6 and jump > 0), (ended, told)
    if ended.code == 0:
        home.assert_done()
    recover(server, home)
