"""The report that compare makes of its results: complete, needing nothing from outside, and nothing taken for markup."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from compare.floor import floor_of
from compare.report import names, write_report
from compare.report.lines import amount, lines, share
from compare.report.markdown import markdown
from compare.report.spread import middle, spreads, width
from compare.result import Kind, Result, Role, Row, Sample, Shown, WorkloadResult, at_least, at_most
from msgspec.structs import replace

HOSTILE = "</title><script>alert(1)</script> & \"quoted\" 'too' $x_{$ %s {{ 7 * 7 }} | *b* #0072b2 \x00\x1b\ud800\n\u4e2d"
VOID = {"meta", "br", "hr", "img", "link", "input"}
SVG = "{http://www.w3.org/2000/svg}"


def row(key: str, role: Role, kind: Kind, seconds: Sequence[float], title: str = "", **values: float) -> Row:
    return Row(key, title or f"the row {key}", role, kind, [Sample(time, time / 2, time / 4, 50 << 20, values) for time in seconds])


def raw(times: Sequence[float] = (5.2, 5.0, 5.4)) -> WorkloadResult:
    rows = [
        row("pass", "ours", "", times),
        row("buffered", "variant", "", [9.0, 9.1, 9.4]),
        row("digest", "part", "digest", [3.8, 3.9, 4.0]),
        row("direct", "part", "store", [4.9, 5.0, 5.1]),
        row("tee", "peer", "", [12.0, 12.5, 14.0]),
        row("glance", "peer", "", [45.0, 46.0, 44.0]),
    ]
    floor = floor_of(rows, 2)
    assert floor is not None
    target = at_least(">= 0.90 of the floor's rate", 0.90, floor.seconds / rows[0].seconds)
    return WorkloadResult("raw3", "raw to 3 stores", 2 << 30, rows, floor, target, ["a note of raw3"], ["rclone: it ended with 7"])


def small() -> WorkloadResult:
    rows = [row("images", "ours", "", [2.5, 2.6], images_per_second=390.0)]
    return WorkloadResult("small", "1,000 small images", 65_536_000, rows, None, at_least(">= 300 images/s", 300, 390.0))


def start() -> WorkloadResult:
    return WorkloadResult("start", "--help", 0, [row("help", "ours", "", [0.2])], None, at_most("<= 0.15 s", 0.15, 0.2))


def result(*workloads: WorkloadResult, started: str = "2026-01-01T00:00:00+00:00") -> Result:
    return Result({"cores": 2, "cpu": "a CPU", "compiled": True}, ["not quiet"], 2 << 30, 3, started, list(workloads))


class Page(HTMLParser):
    """Every element closed where it was opened, and no two of one id. What it asks for from elsewhere is in ``references``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in {"href", "src", "xlink:href", "srcset", "data", "action"}:
                self.references.append(value or "")
            else:
                self.references += re.findall(r"url\((.*?)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text += text


def page_of(out: Path) -> Page:
    return Page((out / "report.html").read_text())


def test_every_workload_and_row_is_in_the_page_and_has_its_plots(tmp_path: Path) -> None:
    run = result(raw(), small(), start())
    written = write_report([run], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    assert [path.name for path in written] == ["report.html"] + [
        f"{name}.{ending}"
        for name in ("overview", "workload-raw3", "workload-small", "workload-start")
        for ending in ("svg", "png")
    ]
    page = page_of(tmp_path)
    for workload in run.workloads:
        svg = ElementTree.parse(tmp_path / f"workload-{workload.key}.svg").getroot()
        shown = "\n".join(text.text or "" for text in svg.iter(f"{SVG}text"))
        for found in (workload.title, *(each.title for each in workload.rows)):
            assert found in page.text
            assert found in shown
    for found in (
        "not quiet",
        "a CPU",
        "a note of raw3",
        "Failed: rclone: it ended with 7",
        "390 images/s",
        "store: writing takes longest",
    ):
        assert found in page.text
    assert all((tmp_path / path).read_bytes().startswith(b"\x89PNG\r\n") for path in tmp_path.glob("*.png"))


def test_the_page_needs_nothing_from_outside_it(tmp_path: Path) -> None:
    write_report([result(raw(), small(), start())], tmp_path)
    page = page_of(tmp_path)
    inner = {f"#{name}" for name in page.ids}
    assert page.references
    assert set(page.references) <= inner
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|file:|//|@import|javascript:", text)


def test_each_drawing_says_what_it_shows_to_who_does_not_see_it(tmp_path: Path) -> None:
    write_report([result(raw())], tmp_path)
    root = ElementTree.parse(tmp_path / "workload-raw3.svg").getroot()
    labels = root.attrib["aria-labelledby"].split()
    texts = {element.get("id"): element.text or "" for element in root}
    assert root.get("role") == "img"
    assert texts[labels[0]] == "raw to 3 stores"
    assert "the row tee (peer): 12.5 s" in texts[labels[1]]
    assert page_of(tmp_path).tags >= {"svg", "title", "desc", "caption", "main", "th"}


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    rows = [row("pass", "ours", "", [1.0, 2.0], HOSTILE), row("part", "part", "store", [1.0], HOSTILE)]
    hostile = WorkloadResult(
        "../../x", HOSTILE, 1 << 30, rows, floor_of(rows, 1), at_least(HOSTILE, 0.9, 1.0), [HOSTILE], [HOSTILE]
    )
    again = WorkloadResult("..//..x", HOSTILE, 1 << 30, rows)
    run = Result({HOSTILE: HOSTILE}, [HOSTILE], 1, 1, HOSTILE, [hostile, again])
    for path in write_report([run], tmp_path / "out"):
        assert path.parent == tmp_path / "out"
        if path.suffix == ".svg":
            drawn = ElementTree.parse(path).getroot()
            assert not list(drawn.iter(f"{SVG}script"))
            assert any("<script>" in (text.text or "") for text in drawn.iter())
    page = page_of(tmp_path / "out")
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    text = markdown([run])
    assert "<script>" not in text.replace("\\<", "")
    assert all(line.count(" | ") == line.replace("\\|", "").count(" | ") for line in text.splitlines() if line.startswith("|"))


def test_the_same_result_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (write_report([result(start())], tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    "workloads",
    [
        (),
        (WorkloadResult("none", "nothing ran", 0, [], failed=["it is broken"]),),
        (WorkloadResult("peers", "ours failed", 1 << 20, [row("tee", "peer", "", [1.0])]),),
        (WorkloadResult("parts", "only parts", 1 << 20, [row("read", "part", "source", [0.0])]),),
        (WorkloadResult("ours", "no floor, no target, one round", 0, [row("pass", "ours", "", [1.0])]),),
        (WorkloadResult("empty", "a row without samples", 1, [Row("pass", "ours", "ours", "", [])]),),
    ],
    ids=["nothing", "failed", "no ours", "parts", "one round", "no samples"],
)
def test_what_is_missing_is_left_out(tmp_path: Path, workloads: tuple[WorkloadResult, ...]) -> None:
    run = result(*workloads)
    assert write_report([run, run], tmp_path)[0].name == "report.html"
    page = page_of(tmp_path)
    for workload in workloads:
        assert workload.title in page.text
        assert workload.title in markdown([run, run])


def test_several_runs_have_a_spread_and_the_last_is_shown(tmp_path: Path) -> None:
    runs = [
        result(raw([6.0, 6.2, 6.1]), small(), started="2026-01-03T00:00:00+00:00"),
        result(raw([5.0, 5.2, 5.1]), started="2026-01-01T00:00:00+00:00"),
        result(raw([5.5, 5.6, 5.7]), started="2026-01-02T00:00:00+00:00"),
    ]
    first, second = spreads(runs)
    assert first.seconds == [6.1, 5.1, 5.6]
    assert middle(first.seconds) == 5.6
    assert width(first.seconds) == pytest.approx(1 / 5.6)
    assert first.reached == (1, 3)
    assert first.limits == ["store"]
    assert second.seconds == [2.55, None, None]
    assert width(second.seconds) is None
    write_report(runs, tmp_path)
    page = page_of(tmp_path)
    assert "1 of 3" in page.text
    assert "17.9%" in page.text
    assert "begun 2026-01-03T00:00:00+00:00" in page.text
    assert "1,000 small images" in page.text
    assert "| 5.10 | 5.60 | 6.10 | 5.60 | 17.9% |" in markdown(runs)


def test_markdown_names_the_limit_the_target_and_all_rows() -> None:
    text = markdown([result(raw(), start())])
    assert "| raw to 3 stores | store | ≥ 0.90 of the floor's rate | 5.20 | 5.00 | 0.96 | yes |" in text
    assert "Limited by store: writing takes longest" in text
    assert "| the row tee | peer | 12.5 | 12.0 | 14.0 | 172 MB/s | 9.38 | 50 | 2.40 |" in text
    assert "measured 0.2, **not reached**" in text
    widths = [{line.count("|") for line in block.splitlines()} for block in text.split("\n\n") if block.startswith("|")]
    assert all(len(found) == 1 for found in widths)


def test_lines_are_sorted_passes_first_and_fastest_first() -> None:
    found = lines(raw())
    assert [line.title.removeprefix("the row ") for line in found] == ["pass", "buffered", "tee", "glance", "direct", "digest"]
    assert (found[2].low, found[2].seconds, found[2].high) == (12.0, 12.5, 14.0)
    assert found[2].times == pytest.approx(12.5 / 5.2)
    assert share(raw()) == pytest.approx(5.0 / 5.2)


@pytest.mark.parametrize(
    ("shows", "axis", "text"), [("cpu", "CPU seconds", "0.150 s of CPU"), ("peak", "MiB at the peak", "50.0 MiB")]
)
def test_a_plot_may_be_of_something_else_than_time(tmp_path: Path, shows: Shown, axis: str, text: str) -> None:
    write_report([result(replace(start(), shows=shows))], tmp_path)
    drawn = (tmp_path / "workload-start.svg").read_text()
    assert axis in drawn
    assert text in drawn
    assert "0.200 s" not in drawn


def test_amounts_have_three_digits() -> None:
    assert [amount(value) for value in (0, 0.0444, 0.5, 5.123, 51.23, 512.3, 5123456)] == [
        "0.000", "0.044", "0.500", "5.12", "51.2", "512", "5,123,456",
    ]  # fmt: skip


def test_names_of_files_are_unique() -> None:
    keys = ["raw3", "RAW3", "../x", "", "é"]
    found = names([WorkloadResult(key, "", 0, []) for key in keys])
    assert found[0] == "workload-raw3"
    assert len(set(found)) == len(keys)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in found)


def test_a_measurement_needs_nothing_that_draws() -> None:
    """Who only wants the figures need not have matplotlib."""
    code = "import sys, compare.report, compare.__main__; print(sorted({'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
