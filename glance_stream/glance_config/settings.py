"""Files read with oslo.config, in an instance of our own and never the global one.

Every option that stands in the files is known to it, so that ``$name`` and ``${group.name}`` find what Glance would find; what our
tables don't list is plain text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg, iniparser, types

from glance_stream.errors import InvalidRequest
from glance_stream.glance_config.options import Kind, Option

DEFAULT = "DEFAULT"
SECRET = re.compile(r"key|secret|password|user|token|credential|auth|connection|transport", re.IGNORECASE)


class Settings:
    """What the files, and as in Glance the environment (OS_GROUP__OPTION), say. All methods raise InvalidRequest.

    No value is quoted in an error: it may be a password that stands on the wrong line.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self.name = f"configuration {', '.join(map(str, files))}"
        self._written = _read(files)
        self._conf = cfg.ConfigOpts()
        try:
            self._conf([], project="glance", prog="glance-api", default_config_files=[*map(str, files)], default_config_dirs=[])
        except cfg.Error as error:
            raise InvalidRequest(f"{self.name}: {type(error).__name__} while reading it") from error
        self._known: set[tuple[str, str]] = set()

    def register(self, group: str, options: Iterable[Option]) -> None:
        """Say what may stand in a section. All sections that are used are registered before the first `get`."""
        for option in options:
            if (_section(group), option.name) not in self._known:
                self._known.add((_section(group), option.name))
                self._conf.register_opt(_as_opt(option), group=None if group == DEFAULT else group)

    def register_rest(self) -> None:
        """The options that nobody has registered: others may refer to them."""
        for group, names in self._written.items():
            for name in names:
                self.register(group, [Option(name, Kind.TEXT)])

    def get(self, group: str, name: str) -> Any:
        """An option's value, converted and with its references resolved; else its default."""
        with self._resolving(group, name):
            return self._conf[name] if group == DEFAULT else getattr(self._conf[group], name)

    def is_said(self, group: str, name: str) -> bool:
        """Whether the files or the environment give the option, and not only its default."""
        with self._resolving(group, name):
            location = self._conf.get_location(name, None if group == DEFAULT else group)
        return bool(location and location.location.is_user_controlled)

    @contextmanager
    def _resolving(self, group: str, name: str) -> Iterator[None]:
        try:
            yield
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError) as error:
            option = getattr(error, "opt_name", name)
            shown = f", {option}" if option != name and not SECRET.search(name) else ""
            problem = f"refers to an option that is not set{shown}; write $$ for a dollar sign"
            raise self.error(group, name, problem) from error
        except RecursionError as error:
            raise self.error(group, name, "refers to itself") from error
        except ValueError:  # whose words quote the value
            raise self.error(group, name, "is given a value that it can't have") from None

    def written(self, group: str) -> dict[str, str]:
        """All that a section of the files holds, its references resolved."""
        return {name: self.get(group, name) for name in self._written.get(_section(group), {})}

    def error(self, group: str, name: str, problem: str) -> InvalidRequest:
        """A problem with one option."""
        return InvalidRequest(f"{self.name}: [{group}] {name}: {problem}")


class _Parser(iniparser.BaseParser):
    """Which options stand where. Duplicate sections are one, as in oslo.config."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, None]] = defaultdict(dict)
        self._group = ""

    def new_section(self, section: str) -> None:
        self._group = _section(section)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self._group:
            raise self.error_no_section()
        self.found[self._group][key] = None

    def error_no_section(self) -> iniparser.ParseError:
        return self.parse_exc("an option stands before the first [section]", self.lineno, "")


def _read(files: Sequence[Path]) -> dict[str, dict[str, None]]:
    parser = _Parser()
    for file in files:
        try:
            parser.parse(file.read_text().splitlines(keepends=True))
        except iniparser.ParseError as error:
            what = error.msg.rstrip(": ")
            raise InvalidRequest(f"configuration {file}: line {error.lineno}: {what}") from None
        parser._group = ""
    return dict(parser.found)


def _section(name: str) -> str:
    """As oslo.config looks it up: without regard to capitals, but for DEFAULT."""
    return name if name == DEFAULT else name.lower()


def _as_opt(option: Option) -> cfg.Opt:
    bounded, items = (
        option.kind.bounds,
        types.Integer() if option.kind is Kind.BRACKETED_NUMBERS else types.String(quotes=True),
    )
    kinds: dict[Kind, types.ConfigType] = {
        Kind.TEXT: types.String(),
        Kind.NUMBER: types.Integer(min=option.minimum, max=option.maximum),
        Kind.SWITCH: types.Boolean(),
        Kind.PAIRS: types.Dict(),
    }
    deprecated = [cfg.DeprecatedOpt(name, group=group) for group, name in option.deprecated]
    common: dict[str, Any] = {"default": option.default, "deprecated_opts": deprecated, "secret": bool(SECRET.search(option.name))}
    if option.kind is Kind.MANY:
        return cfg.MultiStrOpt(option.name, **common)
    return cfg.Opt(option.name, type=kinds.get(option.kind) or types.List(item_type=items, bounds=bounded), **common)
