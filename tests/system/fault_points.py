"""Every system call of a run, counted, and what may be done to each."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from faults.preload import Ended, ForkServer, Rule
from system_home import COPY, IMPORT, RECOVER, Home, with_config

Fresh = Callable[[tuple[str, ...]], Home]

# All errors at all points of all commands, instead of one at some: `make faults`.
ALL = os.environ.get("GLANCE_STREAM_FAULT_POINTS") == "all"
COMMANDS = (IMPORT, COPY) if ALL else (IMPORT,)
EACH_COMMAND = pytest.mark.parametrize("command", [IMPORT, COPY], ids=["import", "copy"])
SOME_COMMANDS = pytest.mark.parametrize("command", COMMANDS, ids=["import", "copy"][: len(COMMANDS)])

# What the system may answer, by open(2), write(2), fsync(2), close(2), link(2), nfs(5).
ERRORS = {
    "create": (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EROFS),
    "open": (errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE),
    "write": (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EFBIG, errno.EROFS),
    "ftruncate": (errno.EIO, errno.ESTALE, errno.EROFS),
    "fsync": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE),
    "close": (errno.EIO, errno.EDQUOT, errno.ENOSPC, errno.ESTALE),
    "link": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EACCES, errno.EROFS),
    "rename": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EACCES, errno.EROFS),
    "unlink": (errno.EIO, errno.ESTALE, errno.EACCES, errno.EROFS),
    "read": (errno.EIO, errno.ESTALE),
}
LATE = ("create", "write", "fsync", "link", "rename", "unlink")  # may take effect although the answer is an error: NFS


_COUNTED: dict[tuple[object, ...], Counter[str]] = {}


def count(server: ForkServer, fresh: Fresh, command: tuple[str, ...], under: str, *rules: Rule) -> Counter[str]:
    """How often each call is made on paths below ``under`` in a run without faults but for ``rules``."""
    key = (command, under, rules)
    if key not in _COUNTED:
        _COUNTED[key] = _counted(server, fresh(command), command, under, rules)
    return _COUNTED[key]


def _counted(server: ForkServer, home: Home, command: tuple[str, ...], under: str, rules: tuple[Rule, ...]) -> Counter[str]:
    seen = home.directory / "seen"
    ended = server.run(with_config(command), home.directory, rules=rules, watch=f"{home.directory}/{under}", seen=seen)
    assert ended.code == 0, ended
    return Counter(line.split()[0] for line in seen.read_text().splitlines())


def single(call: str, number: int, glob: str) -> Iterator[Rule]:
    """What may happen to this one call: each error alone, in the long form; else the next one in turn."""
    errors = ERRORS[call]
    for error in errors if ALL else (errors[number % len(errors)],):
        yield Rule(call, number, error, glob)


def special(call: str, number: int, glob: str) -> Iterator[Rule]:
    """It fails and so does all after it; it takes effect and fails nevertheless."""
    yield Rule(call, number, ERRORS[call][0], glob, "on")
    if call in LATE:
        yield Rule(call, number, errno.EIO, glob, "late")


def numbers(most: int, sample: int) -> Iterable[int]:
    """1 to ``most``; in the short form about ``sample`` of them, the first and the last included."""
    step = 1 if ALL else max(1, most // sample)
    return sorted({*range(1, most + 1, step), most})


@contextmanager
def at(*rules: object) -> Iterator[None]:
    """A failed assertion says at which point."""
    try:
        yield
    except AssertionError as error:
        error.add_note("at: " + "; ".join(map(str, rules)))
        raise


def below(home: Home, rule: Rule) -> Rule:
    """Rules are written with globs relative to the home."""
    return replace(rule, glob=f"{home.directory}/{rule.glob}")


def assert_told(ended: Ended, *words: str) -> None:
    """In the error or in what is said of the store that failed."""
    result = ended.result
    told = [result.get("error", {}).get("message", ""), *(failure["message"] for failure in result["failed"].values())]
    assert any(all(word in line for word in words) for line in told), (words, told)
    assert "Traceback" not in ended.err
    assert "this is a bug" not in ended.out


def recover(server: ForkServer, home: Home, code: int = 0) -> None:
    ended = server.run(with_config(RECOVER), home.directory)
    assert ended.code == code, ended
