import os
import stat
import threading
from pathlib import Path

import pytest

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.base import Source
from glance_stream.sources.path import PathSource


def drain(source: Source, size: int = 7) -> bytes:
    view = memoryview(bytearray(size))
    out = bytearray()
    while count := source.readinto(view):
        out += view[:count]
    return bytes(out)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.write_bytes(b"0123456789" * 5)
    return path


def test_reads_the_whole_file(image: Path) -> None:
    source = PathSource(image)
    info = source.open()
    assert info.size == 50
    assert drain(source) == b"0123456789" * 5
    source.verify_unchanged()
    source.close()
    source.close()


def test_descriptor_gives_the_same_bytes_and_is_not_inherited(image: Path) -> None:
    source = PathSource(image)
    source.open()
    fd = source.fileno()
    assert fd is not None
    assert not os.get_inheritable(fd)
    assert os.read(fd, 100) == b"0123456789" * 5
    source.verify_unchanged()
    source.close()


def test_validator_follows_the_content(image: Path) -> None:
    def validator() -> str | None:
        source = PathSource(image)
        try:
            return source.open().validator
        finally:
            source.close()

    before = validator()
    assert before is not None
    assert validator() == before
    os.utime(image, ns=(0, 1))
    assert validator() != before


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def rewrite(path: Path) -> None:
    path.write_bytes(b"x" * 50)
    os.utime(path, ns=(0, 1))


@pytest.mark.parametrize("change", [grow, rewrite, lambda path: os.truncate(path, 20)], ids=["grown", "rewritten", "shrunk"])
def test_a_file_changed_while_read_is_an_error(image: Path, change) -> None:  # type: ignore[no-untyped-def]
    source = PathSource(image)
    source.open()
    source.readinto(memoryview(bytearray(10)))
    change(image)
    with pytest.raises(SourceError, match=r"while it was read"):
        (drain(source), source.verify_unchanged())
    with pytest.raises(SourceError):
        source.verify_unchanged()
    source.close()


def test_a_file_replaced_under_its_name_is_read_as_it_was(image: Path) -> None:
    source = PathSource(image)
    source.open()
    other = image.with_name("other")
    other.write_bytes(b"other")
    other.replace(image)
    assert drain(source) == b"0123456789" * 5
    source.verify_unchanged()
    source.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "directory"),
        ("missing", "no such file"),
        ("image.raw/x", "not a directory"),
        ("/dev/zero", "not a file, a block device or a FIFO"),
        ("a\0b", "null"),
        ("x" * 300, "too long"),
    ],
)
def test_what_cannot_be_an_image_is_refused_with_the_reason(
    image: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.chdir(image.parent)
    with pytest.raises(InvalidRequest, match=reason):
        PathSource(path).open()


def test_unreadable_file(image: Path) -> None:
    image.chmod(0)
    us = os.geteuid()
    os.seteuid(us or 65534)  # root may read everything
    try:
        with pytest.raises(InvalidRequest, match="permission denied"):
            PathSource(image).open()
    finally:
        os.seteuid(us)


def test_permission_denied_says_what_to_do(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InvalidRequest, match="permission denied: run as a user who may read it"):
        PathSource(image).open()


def test_control_characters_of_a_name_are_not_shown() -> None:
    assert "\x1b" not in PathSource("evil\x1b[2Jname").name


@pytest.mark.timeout(60)
def test_fifo_waits_for_its_writer_and_has_no_size(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = PathSource(path)
    assert source.open().size is None
    writer = threading.Timer(0.1, lambda: path.write_bytes(b"piped" * 3))
    writer.start()
    assert drain(source) == b"piped" * 3
    writer.join()
    source.close()


@pytest.mark.timeout(60)
def test_fifo_without_a_writer_can_be_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = PathSource(path)
    source.open()
    timer = threading.Timer(0.1, source.interrupt)
    timer.start()
    with pytest.raises(SourceError, match="interrupted"):
        drain(source)
    timer.join()
    source.close()


def test_process_substitution_whose_writer_is_gone() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"early")
    os.close(writer)
    source = PathSource(f"/dev/fd/{reader}")
    source.open()
    assert drain(source) == b"early"
    source.close()
    os.close(reader)


def test_reading_before_open_or_after_close_is_an_error(image: Path) -> None:
    source = PathSource(image)
    with pytest.raises(SourceError, match="not open"):
        drain(source)
    source.interrupt()
    source.open()
    with pytest.raises(SourceError, match="interrupted"):
        drain(source)
    source.close()
    with pytest.raises(SourceError, match="not open"):
        drain(source)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, tmp_path / "missing", tmp_path / "fifo"):
        source = PathSource(path)
        try:
            source.open()
        except InvalidRequest:
            continue
        source.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_block_device_size_is_found_by_seeking(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No loop device in a test: a file whose facts say block device takes the same path."""
    real = os.fstat

    def as_block(fd: int) -> os.stat_result:
        facts = list(real(fd))
        facts[0], facts[6] = stat.S_IFBLK | 0o600, 0
        return os.stat_result(facts, {"st_rdev": 7})

    monkeypatch.setattr(os, "fstat", as_block)
    source = PathSource(image)
    assert source.open().size == 50
    assert drain(source) == b"0123456789" * 5
    source.verify_unchanged()
    source.close()
