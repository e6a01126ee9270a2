"""The sources, and the rules by which figures are judged that are no plain times. Nothing is timed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from compare.ground import Ground
from compare.parts.decoding import decode_gzip, decode_zstd
from compare.result import Role, Row, Rows, Sample
from compare.sources import data_in, file_system, made, warm
from compare.sources.sparse import EXTENTS
from compare.workloads import compressed, concurrent, cpu, memory, small, sparse, startup

MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), SIZE)


def extents(path: Path) -> list[tuple[int, int]]:
    with path.open("rb") as file:
        return list(data_in(file.fileno()))


def row(key: str, role: Role = "ours", *, user: float = 1.0, system: float = 0.0, peak: int = 0, **values: float) -> Row:
    """With two other rounds that a median leaves out."""
    samples = [
        Sample(time, user * time, system * time, int(peak * share), values) for time, share in ((0.5, 0), (9.0, 1), (1.0, 0))
    ]
    return Row(key, key, role, "", samples)


def rows(*found: Row) -> Rows:
    return {one.key: one for one in found}


def test_a_file_systems_content_is_the_same_compressed(ground: Ground) -> None:
    path = made(ground, "fs")
    content = path.read_bytes()
    assert len(content) == SIZE
    assert extents(path) == [(0, SIZE)]
    assert gzip.decompress(made(ground, "fs.gz").read_bytes()) == content
    with made(ground, "fs.zst").open("rb") as packed:
        assert zstandard.ZstdDecompressor().stream_reader(packed).read() == content
    assert decode_gzip(made(ground, "fs.gz")) == decode_zstd(made(ground, "fs.zst")) == SIZE


def test_a_file_systems_content_is_neither_empty_nor_full(ground: Ground) -> None:
    content = made(ground, "fs").read_bytes()
    blocks = [content[at : at + 4096] for at in range(0, SIZE, 4096)]
    assert 0.05 < sum(not block.strip(b"\0") for block in blocks) / len(blocks) < 0.5


def test_without_mke2fs_there_is_a_tar(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    file_system.make(ground, tmp_path / "fs")
    content = (tmp_path / "fs").read_bytes()
    assert len(content) == SIZE
    assert content[257:262] == b"ustar"


def test_a_tenth_of_the_sparse_disk_is_in_use(ground: Ground) -> None:
    path = made(ground, "sparse")
    assert path.stat().st_size == SIZE
    found = extents(path)
    assert len(found) == EXTENTS
    assert sum(end - start for start, end in found) == pytest.approx(SIZE / 10, rel=0.5)


def test_nothing_but_zeros_holds_nothing(ground: Ground) -> None:
    path = made(ground, "holes")
    assert path.stat().st_size == SIZE
    assert extents(path) == []
    warm([path])


def test_the_disk_use_of_the_fullest_store_counts(tmp_path: Path) -> None:
    source, lean, full = (tmp_path / name for name in ("source", "lean", "full"))
    for path, held in ((source, 8 * MIB), (lean, 8 * MIB), (full, 16 * MIB)):
        path.write_bytes(bytes([1]) * held)
    assert sparse.disk_use(source, [lean, lean]) == pytest.approx(7 / 8, abs=0.01)  # one MiB is spared
    assert sparse.disk_use(source, [lean, full]) == pytest.approx(15 / 8, abs=0.01)


def test_what_is_stored_for_nothing_is_an_error(tmp_path: Path) -> None:
    source, stored = tmp_path / "source", tmp_path / "stored"
    source.touch()
    stored.write_bytes(bytes(4 * MIB))
    with pytest.raises(ValueError, match="nothing but zeros"):
        sparse.disk_use(source, [stored])
    assert sparse.disk_use(source, [source]) == 0


def test_the_sparse_disk_is_as_large_as_asked(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sparse.SIZE_VARIABLE, raising=False)
    assert sparse.disk(ground).size == sparse.TIMES * SIZE
    monkeypatch.setenv(sparse.SIZE_VARIABLE, "100GiB")
    assert sparse.disk(ground).size == 100 << 30


def test_cpu_beside_is_user_time_without_that_of_the_parts() -> None:
    ours = row("ours", user=5.0, system=1.0)
    target = cpu.beside(rows(ours, row("digest", "variant", user=4.0, system=9.0), row("decode", "variant", user=0.7)), None)
    assert target is not None
    assert (target.measured, target.reached) == (pytest.approx(0.3 / 6.0), True)
    target = cpu.beside(rows(ours, row("digest", "variant", user=4.0)), None)
    assert target is not None
    assert not target.reached
    assert cpu.beside(rows(ours), None) is None


def test_memory_is_that_of_the_worst_round_of_the_worst_row() -> None:
    found = rows(row("raw", peak=memory.RING + 30 * MIB), row("gzip", "variant", peak=memory.RING + 41 * MIB))
    target = memory.most(found, None)
    assert target is not None
    assert (target.measured, target.reached) == (pytest.approx(41), False)
    assert memory.peaks(found)[0].endswith("raw: 62.0; gzip: 73.0")
    assert memory.most({}, None) is None


@pytest.mark.parametrize(
    ("imports", "records", "reached"), [(310, 900, True), (290, 900, False), (150, 149, True), (150, 200, False)]
)
def test_no_more_imports_are_asked_for_than_records_can_be_made(imports: float, records: float, reached: bool) -> None:
    found = rows(
        row("small-import-memory", images_per_second=imports), row("small-records-memory", "variant", images_per_second=records)
    )
    target = small.rate(found, None)
    assert target is not None
    assert (target.measured, target.reached) == (imports, reached)


def test_without_the_records_rate_there_is_no_target() -> None:
    assert small.rate(rows(row("small-import-memory", images_per_second=400)), None) is None


def test_what_the_disk_costs_is_told_apart() -> None:
    found = rows(row("small-import-memory", images_per_second=500), row("small-import-disk", "variant", images_per_second=200))
    assert small.disk_cost(found) == ["The disk and its fsync cost, ms an image: whole imports 3.00."]
    assert small.disk_cost({}) == []


def test_a_short_run_takes_fewer_images(ground: Ground) -> None:
    assert small.count_of(ground) == 8
    assert small.count_of(ground.sized(1 << 40)) == small.MOST


def test_the_slower_start_counts() -> None:
    found = rows(row("startup-help"), row("startup-import", "variant"), row("startup-nothing", "variant"))
    target = startup.slowest(found, None)
    assert target is not None
    assert (target.measured, target.reached) == (1.0, False)
    assert startup.slowest({}, None) is None


def test_no_image_is_larger_than_it_need_be(ground: Ground) -> None:
    assert compressed.ground_of(ground).size == SIZE
    assert compressed.ground_of(ground.sized(1 << 40)).size == compressed.LARGEST
    assert memory.small(ground.sized(1 << 40)).size == memory.SMALL
    assert concurrent.eighth(ground.sized(1 << 30)).size == 1 << 27
