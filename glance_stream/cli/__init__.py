"""The operators' tool ``glance-stream``.

Its exit codes: 0 done; 2 bad request, nothing changed; 3 done but not in all stores; 4 failed and rolled back; 5 failed and
something was left behind, on record for 'recover'; 6 another operation holds the image; 7 verify found damage; 130 interrupted
and rolled back.

Modules of commands import what they work with inside the command: ``--help`` must be quick, and must work where a store's SDK or
the database's driver does not. All that goes wrong ends here, as a message or as JSON, and as an exit code.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click

from glance_stream.cli import bench, check, copy, delete, import_, list, recover, show, stores, verify
from glance_stream.cli.options import Invocation, ending_signals, pass_invocation, wants_json
from glance_stream.cli.output import Human, Json, Reporter, Result, drop, say
from glance_stream.cli.teaching import epilog
from glance_stream.errors import (
    EXIT_BAD_REQUEST,
    EXIT_DAMAGED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LEFTOVERS,
    EXIT_LOCKED,
    EXIT_PARTIAL,
    GlanceStreamError,
)

PROGRAM = "glance-stream"

# What is lacking may be lacking for the undoing too, or have come after the success: nothing is certain but the record.
UNFINISHED = f"'{PROGRAM} recover' undoes what this command has begun and not ended; '{PROGRAM} list' shows what it has ended"
NO_THREAD = "can't start new thread"  # CPython's words; the type is RuntimeError

EPILOG = epilog(
    "glance-stream import jammy.qcow2.zst --disk-format qcow2 --all-stores",
    "glance-stream list",
    "glance-stream copy 3f2c --to far",
    "glance-stream verify 3f2c",
    codes=(EXIT_PARTIAL, EXIT_FAILED, EXIT_LEFTOVERS, EXIT_LOCKED, EXIT_DAMAGED),
)


@click.group(
    epilog=EPILOG,
    no_args_is_help=False,  # that would be exit code 0 with one release of click and 2 with another
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--config",
    metavar="FILE",
    help="Read this configuration. Default: $GLANCE_STREAM_CONFIG, then config.toml in the user's configuration directory, "
    "then one store in the user's data directory.",
)
@click.option(
    "--glance-config",
    metavar="FILE",
    multiple=True,
    help="Read stores and rules from Glance's own files too: glance-api.conf, or a directory such as /etc/glance; may be repeated. "
    "What --config says wins. Default: $GLANCE_STREAM_GLANCE_CONFIG, with colons between them.",
)
@click.option("--verbose", is_flag=True, help="Tell more on the way, and show tracebacks of errors.")
@click.version_option(package_name=PROGRAM)
@pass_invocation
def group(invocation: Invocation, config: str | None, glance_config: tuple[str, ...], verbose: bool) -> None:
    """Import virtual-machine images into many stores in one pass: read once, decode once, hash once, all or nothing.

    IMAGE is an image's id, the beginning of one (4 characters at least) or its name. STORE is an id that 'stores' shows or a
    URL such as file:///some/dir.
    """
    invocation.config = config
    invocation.glance_config = glance_config
    invocation.reporter.verbose = verbose
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    # Its inspectors repeat what a bad image holds, a MiB of it if need be; the refusal says what matters.
    logging.getLogger("oslo_utils").setLevel(logging.NOTSET if verbose else logging.CRITICAL)


for module in (import_, copy, verify, delete, list, show, stores, check, recover, bench):
    group.add_command(module.command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit."""
    given = sys.argv[1:] if arguments is None else [*arguments]
    reporter: Reporter = Json() if wants_json(given) else Human()
    _prepare(reporter)
    sys.exit(_guarded(reporter, given))


def _prepare(reporter: Reporter) -> None:
    sys.stdout = sys.stdout or _closed(1)
    sys.stderr = sys.stderr or _closed(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name outside the terminal's encoding is no reason to fail
    # These are interrupts too. While an operation runs, its loop handles all of them.
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    if not sys.warnoptions:  # an SDK's word to programmers is no word to users, and standard error is empty with --json
        warnings.simplefilter("ignore")
    logging.basicConfig(handlers=[_Warnings(reporter)], force=True)


def _closed(number: int) -> TextIO:
    """In the place of a stream that was closed before the start: what is opened next must not get its number."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
    return open(os.devnull, "w")


def _guarded(reporter: Reporter, given: Sequence[str]) -> int:
    try:
        code = group.main([*given], PROGRAM, standalone_mode=False, obj=Invocation(reporter))
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        return reporter.finish(_misused(error))
    except GlanceStreamError as error:
        from glance_stream.cli.results import refused

        reporter.trace()
        return reporter.finish(refused(error))
    except (KeyboardInterrupt, click.Abort):
        return reporter.finish(Result(EXIT_INTERRUPTED, error=("Interrupted", "interrupted")))
    except MemoryError:
        reporter.trace()
        return reporter.finish(Result(EXIT_LEFTOVERS, error=("MemoryError", f"out of memory: {UNFINISHED}")))
    except Exception as error:
        if str(error) == NO_THREAD:
            reporter.trace()
            return reporter.finish(Result(EXIT_LEFTOVERS, error=("RuntimeError", f"no more threads can be started: {UNFINISHED}")))
        if isinstance(error, OSError) and _is_of_a_help_text(error):
            drop(sys.stdout)
            say(sys.stderr, f"error: the output could not be written: {error.strerror}")
            return EXIT_FAILED
        reporter.trace()
        hint = "" if reporter.verbose else "; --verbose shows where"
        told = f"this is a bug in {PROGRAM}: {type(error).__name__}: {error}{hint}"
        return reporter.finish(Result(EXIT_FAILED, error=(type(error).__name__, told)))


def _is_of_a_help_text(error: OSError) -> bool:
    """That is written by click, which knows of broken pipes only."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _misused(error: click.ClickException) -> Result:
    """A command line that makes no sense."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = [f"see '{context.command_path} --help'"] if context else []
    told = error.format_message()
    before = [name for option in group.params for name in option.opts]
    if isinstance(error, click.NoSuchOption) and context and context.command is not group and error.option_name in before:
        told = f"{error.option_name} stands before the command: {PROGRAM} {error.option_name} ... {context.info_name}"
    return Result(EXIT_BAD_REQUEST, complaints=hint, error=(type(error).__name__, told))


class _Warnings(logging.Handler):
    """What the library logs is told where everything is."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.warning(record.getMessage(), record.levelname.lower())
        if record.exc_info and self._reporter.verbose:
            for line in "".join(traceback.format_exception(record.exc_info[1])).splitlines():
                say(sys.stderr, line)
