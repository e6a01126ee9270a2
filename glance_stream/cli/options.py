"""What commands have in common on their command line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from glance_stream.cli.output import Reporter

if TYPE_CHECKING:
    from glance_stream.config import Config

F = TypeVar("F", bound=Callable[..., Any])

JSON_FLAG = "--json"


@dataclass
class Invocation:
    """One run of the program: what stands before the command, and where everything is told."""

    reporter: Reporter
    config: str | None = None
    glance_config: tuple[str, ...] = ()

    def load_config(self) -> Config:
        """Our configuration, over Glance's where that is named. Raises InvalidRequest."""
        from glance_stream import config, glance_config

        files = glance_config.named(self.glance_config)
        return config.load(self.config, glance_config.load(files) if files else None)


pass_invocation = click.make_pass_decorator(Invocation)


def ending_signals() -> list[signal.Signals]:
    """Those that end the program as Ctrl-C does; 'nohup' has hanging up ignored, and so it stays."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, *hangup]


def wants_json(arguments: list[str]) -> bool:
    """Asked before click parses, so that an error in the command line itself is told in JSON too."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return JSON_FLAG in options


def json_option(function: F) -> F:
    return click.option(
        JSON_FLAG, is_flag=True, expose_value=False, help="Print JSON, one object a line; the last one is the result."
    )(function)


def image_argument(function: F) -> F:
    return click.argument("image", metavar="IMAGE", callback=_not_empty)(function)


def _not_empty(context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An empty word is a shell variable that was not set, and no name of any image."""
    if not value:
        raise click.UsageError("IMAGE is empty", context)
    return value


def check_stores(stores: tuple[str, ...], all_stores: bool, option: str) -> None:
    """The library would refuse it too, in its own words. Raises UsageError."""
    if stores and all_stores:
        raise click.UsageError(f"--all-stores can't be used with {option}", click.get_current_context())


def store_option(*names: str, help: str, multiple: bool = False) -> Callable[[F], F]:
    return click.option(*names, metavar="STORE", multiple=multiple, help=f"{help} An id from 'stores', or file:///some/dir.")


def best_effort_option(function: F) -> F:
    return click.option(
        "--best-effort", is_flag=True, help="Go on without stores that fail, as long as one is left. Default: all or nothing."
    )(function)


def restart_option(function: F) -> F:
    return click.option(
        "--restart", is_flag=True, help="Write all anew. Default: go on with what an interrupted run has left in the stores."
    )(function)
