"""The one table of formats. A format's module, and the library it needs, is imported when a stream is decoded, not before."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder

# How a decoder comes to be. It may raise InvalidRequest if a library is missing, and reads nothing yet.
MakeDecoder = Callable[[CompressedReader, DecodeLimits], Decoder]

FORMATS = {
    "gzip": "GzipDecoder",
    "zstd": "ZstdDecoder",
    "xz": "XzDecoder",
    "bz2": "Bz2Decoder",
    "lz4": "Lz4Decoder",
    "zip": "ZipDecoder",
    "lha": "LhaDecoder",
}


def decoder_class(name: str) -> MakeDecoder:
    """The class of a format in FORMATS; its module has the format's name."""
    module = import_module(f"{__package__}.{name}")
    return cast("MakeDecoder", getattr(module, FORMATS[name]))
