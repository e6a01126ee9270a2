"""A pytest plugin for run.sh: the core under test is the one that a sanitizer watches, and at the end it has leaked nothing.

LeakSanitizer is asked while the interpreter still lives and nothing runs in it. What its objects hold can be reached then and is
no leak; at the end of the process CPython lets go of it unfreed, and a list of suppressions would have to hide whatever was called
from Python, which is all of the core.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FAILED = 66
RUNTIME = {"address": "__asan_init", "thread": "__tsan_init"}


def watching() -> str:
    """Which sanitizer watches; UsageError if the core is another one or no sanitizer is loaded."""
    import glance_stream._chunker as core

    kind = os.environ["GLANCE_STREAM_SANITIZED"]
    expected = ROOT / "build" / "sanitize" / kind / "glance_stream"
    if Path(core.__file__).parent != expected:
        raise pytest.UsageError(f"the core is {core.__file__}, not the one in {expected}")
    if not hasattr(ctypes.CDLL(None), RUNTIME[kind]):
        raise pytest.UsageError(f"the runtime of the {kind} sanitizer is not loaded")
    return kind


def fail_if_leaking() -> None:
    """For atexit: later than this nothing can be reached; earlier, a running frame's objects can't, whose stack CPython maps."""
    gc.collect()
    if ctypes.CDLL(None)["__lsan_do_recoverable_leak_check"]():  # which writes its report
        os._exit(FAILED)


def require() -> None:
    """For what is run by run.sh."""
    if watching() == "address":
        atexit.register(fail_if_leaking)


def pytest_configure(config: pytest.Config) -> None:
    require()


def pytest_report_header(config: pytest.Config) -> str:
    import glance_stream._chunker as core

    return f"core: {core.__file__}"
