"""Zip archives of every sort that writers make, and of the sorts that must not pass."""

from __future__ import annotations

import io
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from decode_samples import TEXT, compress, decode, image, tool, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_stream.decode import sniff
from glance_stream.decode.zip import MOST_DIRECTORIES
from glance_stream.errors import DecodeError

stream_unzip = pytest.importorskip("stream_unzip")

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
DATA = image(70_000)


def by_stream_unzip(blob: bytes) -> bytes:
    return b"".join(chunk for _, _, chunks in stream_unzip.stream_unzip(iter([blob])) for chunk in chunks)


@settings(max_examples=40, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=400), st.builds(bytes, st.integers(0, 4000))),
    streamed=st.booleans(),
    zip64=st.booleans(),
    comment=st.binary(max_size=20),
    pieces=st.lists(st.integers(1, 90), min_size=1, max_size=3),
)
def test_zipfile_and_stream_unzip_agree(data: bytes, streamed: bool, zip64: bool, comment: bytes, pieces: list[int]) -> None:
    blob = zip_of({"disk.img": data}, DEFLATED, streamed, zip64, comment)
    assert decode("zip", blob, pieces) == data == by_stream_unzip(blob)
    assert sniff(blob).format == "zip"


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("piece", [1, 4096, 1 << 20])
def test_stored(zip64: bool, piece: int) -> None:
    blob = zip_of({"disk.img": DATA}, STORED, zip64=zip64)
    assert decode("zip", blob, [piece], [999]) == DATA
    assert sniff(blob).format == "zip"


def test_stored_with_unknown_size_is_refused_clearly() -> None:
    """Only a guess could tell where such a member ends."""
    blob = zip_of({"disk.img": DATA}, STORED, streamed=True)
    with pytest.raises(DecodeError, match="stored without its size in front"):
        decode("zip", blob)


@pytest.mark.parametrize("signature", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("zip64", [True, False])
def test_descriptor_in_all_its_forms(signature: bool, wide: bool, zip64: bool) -> None:
    blob = zip_of({"d": DATA}, streamed=True, zip64=zip64)
    assert decode("zip", with_descriptor(blob, DATA, signature, wide), [77]) == DATA


def with_descriptor(blob: bytes, data: bytes, signature: bool, wide: bool) -> bytes:
    """The same archive with its descriptor written another way."""
    at = blob.index(b"PK\x07\x08")
    central = blob.index(b"PK\x01\x02")
    crc, packed = struct.unpack_from("<2I", blob, at + 4)
    descriptor = (b"PK\x07\x08" if signature else b"") + struct.pack("<I2Q" if wide else "<3I", crc, packed, len(data))
    moved = at + len(descriptor)
    tail = bytearray(blob[central:])
    end = tail.rindex(b"PK\x05\x06")
    struct.pack_into("<I", tail, end + 16, moved)
    return blob[:at] + descriptor + bytes(tail)


def test_descriptor_that_lies() -> None:
    blob = bytearray(zip_of({"d": DATA}, streamed=True))
    at = blob.index(b"PK\x07\x08")
    for offset in (4, 8, 12):
        damaged = bytearray(blob)
        damaged[at + offset] ^= 1
        with pytest.raises(DecodeError, match="descriptor"):
            decode("zip", bytes(damaged))


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "C:\\windows\\x", "c0ffee00-0000-4000-8000-000000000000", "d/e/f"])
def test_the_name_means_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert decode("zip", zip_of({name: DATA})) == DATA
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


def test_more_than_one_file() -> None:
    with pytest.raises(DecodeError, match="more than one file"):
        decode("zip", zip_of({"a": b"1", "b": b"2"}))
    with pytest.raises(DecodeError, match="more than one file"):
        decode("zip", zip_of({"a": b"", "b": b""}, streamed=True))


def test_no_file() -> None:
    for blob in (zip_of({}), zip_of({}, comment=b"nothing here"), zip_of({"only/": b""})):
        assert sniff(blob).format == "zip"
        with pytest.raises(DecodeError, match="no file"):
            decode("zip", blob)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_directories_beside_the_file(streamed: bool, method: int) -> None:
    target = {"d/": b"", "d/e/": b"", "d/e/disk.img": DATA, "empty/": b""}
    if method == STORED and streamed:
        target = {name: data for name, data in target.items() if not data}
        with pytest.raises(DecodeError, match="no file"):
            decode("zip", zip_of(target, method, streamed))
    else:
        assert decode("zip", zip_of(target, method, streamed), [333]) == DATA


def test_directory_with_data() -> None:
    with pytest.raises(DecodeError, match="directory that has data"):
        decode("zip", zip_of({"d/": b"hidden", "disk.img": DATA}))


def test_too_many_directories() -> None:
    def named(count: int) -> dict[str, bytes]:
        return {"f": b"1"} | {f"{number}/": b"" for number in range(count)}

    assert decode("zip", zip_of(named(MOST_DIRECTORIES))) == b"1"
    with pytest.raises(DecodeError, match="more than 64 directories"):
        decode("zip", zip_of(named(MOST_DIRECTORIES + 1)))


def patched(blob: bytes, change: Callable[[bytearray, int, int], None]) -> bytes:
    """``change`` gets the archive and where its flags are, in the local header and in the central directory."""
    changed = bytearray(blob)
    change(changed, 6, blob.index(b"PK\x01\x02") + 8)
    return bytes(changed)


@pytest.mark.parametrize("bit", [0x0001, 0x0041, 0x2000])
def test_encrypted(bit: int) -> None:
    def encrypt(blob: bytearray, local: int, central: int) -> None:
        for at in (local, central):
            struct.pack_into("<H", blob, at, bit)

    blob = patched(zip_of({"d": DATA}), encrypt)
    assert sniff(blob).format == "zip"
    with pytest.raises(DecodeError, match="encrypted"):
        decode("zip", blob)


def test_encrypted_by_the_tool(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(DATA)
    subprocess.run(["zip", "-qP", "secret", "d.zip", "disk.img"], cwd=tmp_path, check=True)
    blob = (tmp_path / "d.zip").read_bytes()
    assert sniff(blob).format == "zip"
    with pytest.raises(DecodeError, match="encrypted"):
        decode("zip", blob)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods(method: int) -> None:
    blob = zip_of({"d": DATA}, method)
    assert sniff(blob).format == "zip"
    with pytest.raises(DecodeError, match=f"compression method {method};"):
        decode("zip", blob)


def test_split_archives() -> None:
    with pytest.raises(DecodeError, match="several disks"):
        decode("zip", b"PK\x07\x08" + zip_of({"d": DATA}))
    blob = bytearray(zip_of({"d": DATA}))
    for at in (blob.index(b"PK\x01\x02") + 34, len(blob) - 22 + 4, len(blob) - 22 + 6):
        split = bytearray(blob)
        split[at] = 1
        with pytest.raises(DecodeError, match="several disks"):
            decode("zip", bytes(split))


def test_symbolic_link() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        link = zipfile.ZipInfo("disk.img")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DecodeError, match="symbolic link"):
        decode("zip", target.getvalue())


def tampered() -> Iterator[tuple[str, int]]:
    """Fields of the central directory and end record of an archive with one deflated member, as offsets from their signature."""
    for record, offsets in (("PK\x01\x02", (10, 16, 20, 24, 28, 30, 32, 42, 46)), ("PK\x05\x06", (8, 10, 12, 16, 20))):
        for offset in offsets:
            yield record, offset


@pytest.mark.parametrize(("record", "offset"), list(tampered()))
@pytest.mark.parametrize("zip64", [False, True])
def test_two_descriptions_that_differ(record: str, offset: int, zip64: bool) -> None:
    blob = bytearray(zip_of({"d": DATA}, zip64=zip64))
    blob[blob.rindex(record.encode()) + offset] ^= 1
    with pytest.raises(DecodeError):
        decode("zip", bytes(blob))


@pytest.mark.parametrize("flag", [0x0001, 0x0020, 0x0040, 0x2000])
def test_a_directory_that_says_encrypted_or_patched(flag: int) -> None:
    """zipfile goes by the directory and refuses; the member's own header is all that a stream shows at first."""
    blob = bytearray(zip_of({"d": DATA}))
    at = blob.rindex(b"PK\x01\x02") + 8
    blob[at : at + 2] = struct.pack("<H", struct.unpack_from("<H", blob, at)[0] | flag)
    with pytest.raises(DecodeError, match="encrypted or patched"):
        decode("zip", bytes(blob))


@pytest.mark.parametrize("offset", [4, 16, 20, 24, 32, 40, 48, 56, 60, 64, 72])
def test_zip64_end_record_and_locator(offset: int) -> None:
    """Made by the tool: it writes these when it can't seek."""
    blob = bytearray(zip64_with_end_record())
    assert decode("zip", bytes(blob), [100]) == DATA
    blob[blob.index(b"PK\x06\x06") + offset] ^= 1
    with pytest.raises(DecodeError):
        decode("zip", bytes(blob))


def zip64_with_end_record() -> bytes:
    """An archive as of 4 GiB, without its size: the end record leaves all to the zip64 record (APPNOTE 4.4.1.4)."""
    blob = zip_of({"d": DATA})
    directory, end = blob.index(b"PK\x01\x02"), len(blob) - 22
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, end - directory, directory)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    absent = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return blob[:end] + record + locator + absent


@pytest.mark.parametrize("options", [("-q",), ("-q0",), ("-q9",), ("-qfz",), ("-qX",), ("-qr",)])
def test_the_tool_on_files(options: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(DATA)
    subprocess.run(["zip", *options, "out.zip", "images" if "-qr" in options else "images/disk.img"], cwd=tmp_path, check=True)
    blob = (tmp_path / "out.zip").read_bytes()
    assert sniff(blob).format == "zip"
    assert decode("zip", blob, [1001]) == DATA


def test_the_tool_in_a_pipe() -> None:
    assert decode("zip", tool(("zip", "-q"), DATA), [1001]) == DATA


def test_not_at_the_start() -> None:
    """What stands before the archive, say a self-extractor, would be dropped in silence."""
    blob = compress("zip", TEXT)
    with pytest.raises(DecodeError, match="wrong magic"):
        decode("zip", b"MZ" + blob)
    with pytest.raises(DecodeError):
        decode("zip", blob + blob)
