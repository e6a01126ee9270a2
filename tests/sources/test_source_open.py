import subprocess
import sys
from pathlib import Path

import pytest

from glance_stream.errors import InvalidRequest
from glance_stream.sources import PathSource, PipeSource, open_source
from glance_stream.sources.http import HttpSource


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("-", PipeSource, "standard input"),
        ("./-", PathSource, "./-"),
        ("image.qcow2", PathSource, "image.qcow2"),
        ("C:\\images\\a.img", PathSource, "C:\\\\images\\\\a.img"),
        ("http://host/a", HttpSource, "http://host/a"),
        ("HTTPS://Host:443/a", HttpSource, "https://host/a"),
        ("file:///a%20b", PathSource, "/a b"),
        ("file://localhost/a", PathSource, "/a"),
        ("FILE:///a?b#c", PathSource, "/a?b#c"),
    ],
)
def test_text_to_source(text: str, kind: type, name: str) -> None:
    source = open_source(text)
    assert type(source) is kind
    assert source.name == name


def test_undecodable_path() -> None:
    source = open_source("file:///%ff")
    assert isinstance(source, PathSource)
    assert source.path == "/\udcff"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("s3://bucket/a", "http://, https://, file:///path"),
        ("ftp://host/a", "can't read from ftp"),
        ("file://other/a", "on this machine"),
        ("file://", "on this machine"),
        ("http://", "no valid host"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        open_source(text)


def test_an_existing_path_that_looks_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "image").write_bytes(b"x")
    assert isinstance(open_source("s3://image"), PathSource)


def test_standard_input_replaced_by_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert isinstance(open_source("-"), PipeSource)


def test_the_http_client_is_imported_only_for_a_url() -> None:
    code = "import sys, glance_stream.sources as s; s.open_source('x'); sys.exit('urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
