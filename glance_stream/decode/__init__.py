"""Decoding of compressed images while they stream: what it is, whether it may be decoded, and the decoder for it.

name = choose("auto", head)  # head: the first SNIFF_SIZE bytes
if name is not None:
    decoder = open_decoder(name, reader)
"""

from __future__ import annotations

from glance_stream.decode.base import CompressedReader, DecodeLimits, Decoder
from glance_stream.decode.formats import FORMATS, decoder_class
from glance_stream.decode.limits import Counted, Limited, Unnested
from glance_stream.decode.sniff import SNIFF_SIZE, Sniffed, sniff
from glance_stream.errors import InvalidRequest

__all__ = [
    "FORMATS",
    "SNIFF_SIZE",
    "CompressedReader",
    "DecodeLimits",
    "Decoder",
    "Sniffed",
    "choose",
    "open_decoder",
    "sniff",
]

AUTO = "auto"
NEVER = "never"


def choose(request: str, head: bytes) -> str | None:
    """The format to decode, None for content to be taken as it is.

    ``request`` is 'auto' (by content), 'never', or the name of a format, which is taken at its word: a stream that isn't of that
    format fails when it is decoded. For a warning about content that only resembles a format see :func:`sniff`.
    """
    if request == AUTO:
        return sniff(head).format
    if request == NEVER:
        return None
    _check_known(request)
    return request


def open_decoder(name: str, reader: CompressedReader, limits: DecodeLimits | None = None) -> Decoder:
    """A decoder for ``reader``'s whole stream that keeps to ``limits`` and refuses nested compression.

    Raises InvalidRequest for an unknown format, or one whose library is not installed, before anything is read.
    """
    _check_known(name)
    limits = limits or DecodeLimits()
    compressed = Counted(reader)
    decoder = decoder_class(name)(compressed, limits)
    return Unnested(Limited(decoder, compressed, limits))


def _check_known(name: str) -> None:
    if name not in FORMATS:
        raise InvalidRequest(f"unknown compression format {name!r}; known: {', '.join((AUTO, NEVER, *FORMATS))}")
