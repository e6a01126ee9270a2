"""A source that an interrupted transfer has read in part: its beginning comes from the store that has it."""

from __future__ import annotations

import gzip
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash
from faults.fault import Fail
from faults.loop import run
from faults.recorder import FaultyRecorder
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import DATA, IMAGE, LIMITS, SLOT

from glance_stream.errors import GlanceStreamError, SourceError
from glance_stream.model import Beginning, Fingerprints
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.stores.base import Store
from glance_stream.stores.file import FileStore
from glance_stream.stores.memory import MemoryStore
from glance_stream.transfer import Transferred, TransferRequest, beginning, transfer

ETAG = '"one"'


class Remote(Source):
    """As from a network: no descriptor, an ETag, and it may be gone on with. ``given``: the bytes that were read of it."""

    def __init__(self, data: bytes = DATA, *, etag: str | None = ETAG, name: str = "http://example.org/image") -> None:
        self.name = name
        self._data = data
        self._etag = etag
        self._at = self.given = 0
        self.reopened: list[int] = []

    def open(self) -> SourceInfo:
        return SourceInfo(len(self._data), self._etag)

    def reopen(self, offset: int) -> None:
        self.reopened.append(offset)
        self._at = offset

    def readinto(self, view: memoryview) -> int:
        n = min(len(view), len(self._data) - self._at, 3000)
        view[:n] = self._data[self._at : self._at + n]
        self._at += n
        self.given += n
        return n

    def close(self) -> None:
        pass


class Remembering(FaultyRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.beginnings: list[Beginning] = []
        self.asked = threading.Event()

    async def read(self, beginning: Beginning) -> None:
        self.asked.set()
        await self._strike("read")
        self.beginnings.append(beginning)


def beginning_of(data: bytes, slots: int, *, size: int = len(DATA)) -> Beginning:
    digests = b"".join(xxhash.xxh3_128_digest(data[at : at + SLOT]) for at in range(0, slots * SLOT, SLOT))
    return Beginning(Remote().name, size, ETAG, Fingerprints(SLOT, digests))


def go_on(place: Path, source: Remote, held: bytes, read: Beginning, *, slots: int = 5) -> tuple[Transferred, bytes]:
    store = FileStore("f", place / "store")
    store.path.mkdir()
    trace = store.writer(IMAGE).trace
    Path(trace.removeprefix("file://")).write_bytes(held)
    request = TransferRequest(IMAGE, source, [store], resume={"f": trace}, beginning=read, limits=LIMITS, decompress="never")
    done = run(transfer(request))
    (stored,) = store.path.iterdir()
    return done, stored.read_bytes()


@settings(max_examples=80, deadline=None)
@given(
    cut=st.integers(0, len(DATA)), slots=st.integers(0, 5), wrong=st.none() | st.integers(0, len(DATA) - 1), recorded=st.booleans()
)
def test_what_the_store_has_is_not_read_again(cut: int, slots: int, wrong: int | None, recorded: bool) -> None:
    """``wrong``: a byte that is not as it was; ``recorded``: nor was it when it was recorded, as of another source."""
    held = bytearray(DATA[:cut])
    if wrong is not None and wrong < cut:
        held[wrong] ^= 1
    source = Remote()
    of = (bytes(held) + DATA[cut:]) if recorded else DATA
    with tempfile.TemporaryDirectory() as place:
        done, stored = go_on(Path(place), source, bytes(held), beginning_of(of, slots))
    if not recorded or wrong is None or wrong >= cut or wrong < SLOT or wrong >= slots * SLOT:
        assert stored == DATA
    right = 1
    while right < slots and bytes(held[right * SLOT : (right + 1) * SLOT]) == of[right * SLOT : (right + 1) * SLOT]:
        right += 1
    first = slots > 1 and of[:SLOT] == DATA[:SLOT]
    assert done.spared == (SLOT * (right - 1) if first else 0)
    assert source.given == len(DATA) - done.spared


@pytest.mark.parametrize(
    "source",
    [
        Remote(DATA[:-1]),
        Remote(etag='"two"'),
        Remote(etag=None),
        Remote(etag="Sun, 22 Nov 2026 17:00:00 GMT"),
        Remote(name="http://example.org/other"),
        Remote(b"?" + DATA[1:]),
    ],
    ids=["size", "etag", "no etag", "a time", "name", "first byte"],
)
def test_another_source_is_read_from_its_beginning(tmp_path: Path, source: Remote) -> None:
    done, stored = go_on(tmp_path, source, DATA, beginning_of(DATA, 5))
    assert stored == source._data
    assert (done.spared, source.given, source.reopened) == (0, len(source._data), [])


def test_a_source_that_changes_when_it_is_gone_on_with_fails(tmp_path: Path) -> None:
    class Changing(Remote):
        def reopen(self, offset: int) -> None:
            raise SourceError("changed meanwhile")

    with pytest.raises(SourceError, match="changed meanwhile"):
        go_on(tmp_path, Changing(), DATA, beginning_of(DATA, 5))
    assert list((tmp_path / "store").iterdir()) == []


class Waiting(Remote):
    """Gives its last slot once something was recorded."""

    def __init__(self, recorder: Remembering) -> None:
        super().__init__()
        self._recorder = recorder

    def readinto(self, view: memoryview) -> int:
        if self._at >= 5 * SLOT:
            assert self._recorder.asked.wait(10)
        return super().readinto(view)


@pytest.mark.parametrize("failing", [False, True])
def test_what_was_read_is_recorded_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool) -> None:
    """And a record that fails is no failure of the transfer."""
    monkeypatch.setattr(beginning, "EVERY_SECONDS", 0.0)
    recorder = Remembering()
    if failing:
        recorder.script["read"] = Fail(lambda: GlanceStreamError("no catalogue"))
    stores = [FileStore("f", tmp_path / "store")]
    run(transfer(TransferRequest(IMAGE, Waiting(recorder), stores, limits=LIMITS, decompress="never"), recorder))
    assert (tmp_path / "store" / IMAGE).read_bytes() == DATA
    assert bool(recorder.beginnings) != failing
    for found in recorder.beginnings:
        assert found == beginning_of(DATA, len(found.fingerprints.digests) // 16)


@pytest.mark.parametrize(
    ("source", "decompress", "stores"),
    [
        (Remote(etag=None), "never", FileStore),
        (Remote(gzip.compress(DATA, 1)), "gzip", FileStore),
        (Remote(), "never", lambda store_id, _: MemoryStore(store_id)),
    ],
    ids=["no etag", "decoded", "a store that can't be read back"],
)
def test_nothing_is_recorded_where_it_would_be_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Remote, decompress: str, stores: Callable[..., Store]
) -> None:
    monkeypatch.setattr(beginning.BeginningRecord, "__init__", None)
    request = TransferRequest(IMAGE, source, [stores("s", tmp_path / "store")], limits=LIMITS, decompress=decompress)
    run(transfer(request))
