"""What an image's content is, and whether it is safe to keep: oslo.utils' inspectors, asked as Glance asks them.

Glance wraps the stream of an upload (glance/location.py `set_data`) and judges when it has ended. Here the inspectors look at the
image's bytes in the same pieces, and stop as soon as no further byte can change what they think: the verdict then is Glance's, and
a bad image is refused at its beginning instead of at its end. Knowledge of formats stays in oslo.utils; this only feeds and asks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glance_stream.errors import FormatRejected
from glance_stream.model import DISK_FORMATS

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

LOG = logging.getLogger(__name__)

# What Glance's file store reads at a time. Some inspectors see other things in other pieces, such as a descriptor's first one.
PIECE = 1 << 16
# Where the catalogue's (and Glance's) column for it ends.
LARGEST_VIRTUAL_SIZE = (1 << 63) - 1
# What is kept as a plain disk: nothing that reads such an image is told to look into it.
PLAIN = ("raw", "gpt", "luks")
CHARACTERS_SHOWN = 200  # of a reason that repeats what the image holds


@dataclass(frozen=True)
class Inspection:
    """What the content has to be: Glance's ``[image_format]`` options, and what the image says of itself.

    disk_format: what the image is said to be. None: what it turns out to be, if that is one of ``disk_formats``.
    require_match: refuse content that is something else. Off, it is only not looked at any closer, as in Glance.
    vmdk_allowed_types: of the two that oslo.utils lets pass, those that pass here.
    gpt_nonfatal: names of safety checks that a disk with a partition table may fail.
    """

    disk_format: str | None
    require_match: bool = True
    vmdk_allowed_types: Sequence[str] = ("streamOptimized", "monolithicSparse")
    gpt_nonfatal: Sequence[str] = ()
    disk_formats: Sequence[str] = DISK_FORMATS


@dataclass(frozen=True)
class Finding:
    """The verdict on content that may stay. ``disk_format``: what to call it. ``content``: what it looks like, None if unknown.

    virtual_size: bytes of the disk inside; None where nothing says it.
    """

    disk_format: str
    content: str | None
    virtual_size: int | None


class Inspector:
    """One stream under inspection. Memory: what oslo.utils captures, 2 MiB at the very most, and one piece."""

    def __init__(self, inspection: Inspection) -> None:
        """Raises FormatRejected where oslo.utils is not whole: without a verdict nothing is stored."""
        try:
            from oslo_utils.imageutils import format_inspector  # 0.1 s that a command which imports nothing need not spend
        except ImportError as error:
            raise FormatRejected(
                f"the content can't be inspected here ({error}): install 'oslo.utils[image-inspection]', which this needs"
            ) from error
        self._formats = format_inspector
        self._rules = inspection
        self._inspectors: list[FileInspector] = [kind() for kind in format_inspector.ALL_FORMATS.values()]
        self._hungry = list(self._inspectors)
        self._rest = bytearray()
        self._finished = False

    @property
    def decided(self) -> bool:
        """No further byte can change the verdict, but for the size."""
        return not self._hungry

    def feed(self, view: memoryview) -> None:
        """The next bytes of the image, cut as you like."""
        if self._rest:
            missing = PIECE - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) == PIECE:
                self._look(bytes(self._rest))
                self._rest.clear()
        whole = len(view) - len(view) % PIECE
        for at in range(0, whole, PIECE):
            if self.decided:
                return
            self._look(bytes(view[at : at + PIECE]))
        self._rest += view[whole:]

    def _look(self, piece: bytes) -> None:
        self._hungry = [inspector for inspector in self._hungry if _eats(inspector, piece)]

    def judge(self, size: int) -> Finding:
        """The verdict on an image of ``size`` bytes, once the stream has ended or is decided. Raises FormatRejected."""
        if self._rest and not self.decided:
            self._look(bytes(self._rest))
            self._rest.clear()
        if not self._finished:
            for inspector in self._inspectors:
                inspector.finish()
            self._finished = True
        try:
            return self._judge(size)
        except FormatRejected:
            raise
        except self._formats.SafetyCheckFailed as error:
            raise self._unsafe(error.failures) from error
        except self._formats.ImageFormatError as error:
            return self._unmatched(str(error))
        except Exception as error:  # of an inspector that met what it did not expect
            LOG.debug("the inspection failed", exc_info=True)
            return self._unmatched(f"the inspection failed ({type(error).__name__})")

    def _judge(self, size: int) -> Finding:
        """Line by line what Glance does with the formats that match."""
        inspector, claimed = self._match(), self._rules.disk_format
        if inspector is None:
            return self._unmatched("the inspection failed on text that goes over into other bytes (as raw it is stored unseen)")
        content, virtual_size = inspector.NAME, 0
        if claimed is None:
            claimed = "raw" if content in PLAIN else content
            self._check_known(content, claimed)
        if content == claimed:
            virtual_size = inspector.virtual_size
            if content in PLAIN:  # counted by the inspector, which may not have seen all
                virtual_size += size - inspector.actual_size
        elif claimed == "raw":
            virtual_size = size
        elif content != "raw" or claimed in self._formats.ALL_FORMATS:
            return self._unmatched(f"the content is {content}", content)
        self._check_safe(inspector)
        if virtual_size > LARGEST_VIRTUAL_SIZE:
            raise FormatRejected(f"the content is {content} and says that it is a disk of {virtual_size} bytes, which can't be")
        return Finding(claimed, content, virtual_size or None)

    def _match(self) -> FileInspector | None:
        """The one that recognises the content; None if an inspector can't tell. Raises ImageFormatError for several."""
        raw = next(one for one in self._inspectors if one.NAME == "raw")
        try:
            found = {one.NAME: one for one in self._inspectors if one is not raw and one.format_match}
        except AttributeError:
            # Text that goes over into other bytes: the vmdk inspector gave up half-way. Glance lets all of it pass unseen; here
            # only what nobody will look into.
            return raw if self._rules.disk_format == "raw" else None
        if found.keys() == {"iso", "gpt"}:
            return found["iso"]  # bootable as a disk too
        if len(found) > 1:
            raise self._formats.ImageFormatError(f"the content is several formats at once: {', '.join(sorted(found))}")
        return next(iter(found.values()), raw)

    def _check_known(self, content: str, disk_format: str) -> None:
        if disk_format not in self._rules.disk_formats:
            raise FormatRejected(
                f"the content is {content}, which is not among the disk formats here ({', '.join(self._rules.disk_formats)}): "
                "convert it to one of these with 'qemu-img convert'"
            )

    def _check_safe(self, inspector: FileInspector) -> None:
        try:
            inspector.safety_check()
        except self._formats.SafetyCheckFailed as error:
            if inspector.NAME != "gpt" or error.failures.keys() - set(self._rules.gpt_nonfatal):
                raise self._unsafe(error.failures, inspector.NAME) from error
            LOG.warning("the image's partition table: %s; not fatal here", _reasons(error.failures))
        kind = getattr(inspector, "vmdktype", None)
        if kind is not None and kind not in {allowed.lower() for allowed in self._rules.vmdk_allowed_types}:
            raise FormatRejected(
                f"the content is vmdk of the type {kind}, which [image_format] vmdk_allowed_types does not allow here: convert it "
                "with 'qemu-img convert'"
            )

    def _unsafe(self, failures: dict[str, Exception], content: str = "") -> FormatRejected:
        return FormatRejected(f"the content is {content} and not safe to keep: {_reasons(failures)}; {_way_out(failures)}")

    def _unmatched(self, found: str, content: str | None = None) -> Finding:
        """Content that is not what it is said to be."""
        claimed = self._rules.disk_format
        if claimed is None:
            raise FormatRejected(f"{found}: what it is can't be told; check where it comes from")
        if self._rules.require_match:
            say = f", or import it as {content}" if content in DISK_FORMATS else ""
            raise FormatRejected(f"{found}, and not {claimed} as the image's disk_format says: check where it comes from{say}")
        LOG.warning("%s, and not %s as the image's disk_format says; taken as it is", found, claimed)
        return Finding(claimed, content, None)


def _eats(inspector: FileInspector, piece: bytes) -> bool:
    """Give it a piece; whether it wants another.

    It does not when it has failed, as in Glance, or when it had all it wanted before and this piece has changed nothing: inspectors
    are functions of what they have captured.
    """
    before = inspector.context_info if inspector.complete else None
    try:
        inspector.eat_chunk(piece)
    except Exception as error:
        LOG.debug("not %s: %s", inspector.NAME, error)
        return False
    return before is None or not inspector.complete or inspector.context_info != before


def _reasons(failures: dict[str, Exception]) -> str:
    """Printable and short, whatever the image has put into them."""
    text = "; ".join(f"{name}: {reason}" for name, reason in sorted(failures.items()))
    return "".join(character if character.isprintable() else "?" for character in text[:CHARACTERS_SHOWN])


def _way_out(failures: dict[str, Exception]) -> str:
    if failures.keys() & {"backing_file", "data_file"}:
        return "it refers to another file: make it whole with 'qemu-img convert' where that file is trusted"
    if failures.keys() & {"mbr", "gptmbr"}:
        return "repair its partition table, or name the check in [image_format] gpt_safety_checks_nonfatal"
    return "make a new image of it with 'qemu-img convert' where it is trusted"
