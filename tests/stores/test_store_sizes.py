"""Sizes in the options of stores are written in one way, with or without a unit, and each has its bounds."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from glance_stream.config import StoreConfig
from glance_stream.errors import InvalidRequest
from glance_stream.stores import TYPES, build, convert_options

OPTIONS: dict[str, dict[str, Any]] = {
    "rbd": {},
    "s3": {"bucket": "images"},
    "swift": {"auth_url": "https://host/v3", "user": "glance", "key": "k"},
}
EACH = pytest.mark.parametrize(("type_", "option"), [("rbd", "object_size"), ("s3", "part_size"), ("swift", "segment_size")])


def refusal(type_: str, option: str, value: object) -> str:
    with pytest.raises(InvalidRequest) as raised:
        build("mine", StoreConfig(type=type_, options={**OPTIONS[type_], option: value}))
    return str(raised.value)


@EACH
@pytest.mark.parametrize("value", ["16 MiB", "16MiB", "16384 KiB", "16777216", 16 << 20])
def test_a_size_is_a_number_or_has_a_unit(type_: str, option: str, value: object) -> None:
    module, _, kind = TYPES[type_]
    options = convert_options({**OPTIONS[type_], option: value}, getattr(import_module(module), kind))
    assert getattr(options, option) == 16 << 20
    build("mine", StoreConfig(type=type_, options={**OPTIONS[type_], option: value}))


@EACH
@pytest.mark.parametrize("value", ["much", "16 MB/s", "0.3 B", "", 0, -1, True, 1.5, None, [1]])
def test_what_is_no_size_is_refused_with_the_options_name(type_: str, option: str, value: object) -> None:
    assert option in refusal(type_, option, value)


@pytest.mark.parametrize(
    ("type_", "option", "value"),
    [
        ("rbd", "object_size", "2 KiB"),
        ("rbd", "object_size", "3 MiB"),
        ("rbd", "object_size", "64 MiB"),
        ("s3", "part_size", "1 MiB"),
        ("s3", "part_size", "6 GiB"),
        ("swift", "segment_size", "6 GiB"),
    ],
)
def test_a_size_beyond_its_bounds_is_refused_and_the_bounds_are_told(type_: str, option: str, value: object) -> None:
    said = refusal(type_, option, value)
    assert f"{option}: write" in said
    assert "iB" in said
