"""A catalogue in a file: what SQLite is opened with, and how it says no. And URLs, of which nothing is opened."""

from __future__ import annotations

import socket
import sqlite3
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from glance_stream.catalogue import Catalogue, Operation, Task, engine, servers, sqlite
from glance_stream.catalogue.tables import schema
from glance_stream.errors import CatalogueError, CatalogueUnavailable, InvalidRequest
from glance_stream.model import Image

OPEN = "import sys; from glance_stream.catalogue import Catalogue; Catalogue(sys.argv[1]).close()"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalogue.db"


def add_image(catalogue: Catalogue) -> Image:
    return catalogue.create_image(str(uuid.uuid4()), name=None, disk_format=None, container_format=None)


def test_a_new_catalogue_is_its_owners_alone(tmp_path: Path) -> None:
    """OSSN-0065: who can write the catalogue can exchange an image's data."""
    file = tmp_path / "new" / "deep" / "catalogue.db"
    with Catalogue(f"sqlite:///{file}") as catalogue:
        add_image(catalogue)
        for path, mode in ((file, 0o600), (Path(f"{file}-wal"), 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
            assert path.stat().st_mode & 0o777 == mode, path


def test_settings(catalogue: Catalogue) -> None:
    with catalogue._database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}


def test_two_processes_open_a_new_catalogue_at_once(url: str, python: Callable[..., Any]) -> None:
    opening = [python(OPEN, url) for _ in range(4)]
    assert [process.wait(timeout=60) for process in opening] == [0] * 4


def test_a_refusal_to_change_the_mode_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses one of two that change it at once without waiting: 3 of 600 openings under stress."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorname = "SQLITE_BUSY"
    cursor = Mock(execute=Mock(side_effect=[busy, busy, None]))
    crowded = Mock(raw_connection=Mock(return_value=Mock(cursor=Mock(return_value=cursor))))
    sqlite.use_write_ahead_log(crowded)
    assert cursor.execute.call_count == 3
    crowded.raw_connection.return_value.close.assert_called_once_with()
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", -1.0)
    cursor.execute.side_effect = [busy]
    with pytest.raises(DBAPIError):
        sqlite.use_write_ahead_log(crowded)


def test_a_read_only_catalogue_is_read_and_not_written(url: str, tmp_path: Path) -> None:
    with Catalogue(url) as catalogue:
        image = add_image(catalogue)
    with Catalogue(f"sqlite:///file:{tmp_path}/catalogue.db?mode=ro&uri=true") as read_only:
        assert read_only.get_image(image.image_id) == image
        with pytest.raises(CatalogueError, match="is read-only: the file and its directory must be writable"):
            read_only.update_properties(image.image_id, {"a": "b"})


def test_an_empty_read_only_file_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(CatalogueError, match="read-only"):
        Catalogue(f"sqlite:///file:{tmp_path}/empty.db?mode=ro&uri=true")


@pytest.mark.parametrize("path", ["file/catalogue.db", "file/deep/catalogue.db", "directory"])
def test_a_path_that_cannot_be_a_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(InvalidRequest, match="name a file that can be written"):
        Catalogue(f"sqlite:///{tmp_path / path}")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"QFI\xfb" * 1000)
    with pytest.raises(CatalogueError, match="not a catalogue, or is damaged"):
        Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    assert (tmp_path / "catalogue.db").read_bytes() == b"QFI\xfb" * 1000


def test_a_damaged_file(tmp_path: Path, url: str) -> None:
    with Catalogue(url) as catalogue:
        image = add_image(catalogue)
    file = tmp_path / "catalogue.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(CatalogueError, match="damaged: restore it from a backup"), Catalogue(url) as catalogue:
        catalogue.get_image(image.image_id)


def test_a_database_locked_for_too_long(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with Catalogue(url) as catalogue:
        other = sqlite3.connect(tmp_path / "catalogue.db")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogueError, match="another process has kept it locked") as refused:
            add_image(catalogue)
        assert refused.value.retryable
        other.close()
        add_image(catalogue)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "", "catalogue.db", "nosuch://u:secret@h/d", "x://u:secret@h:p/d"]
)
def test_a_url_that_names_no_catalogue(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Catalogue(url)
    assert "secret" not in str(refused.value)


def test_another_database() -> None:
    with pytest.raises(InvalidRequest, match=r"'oracle' is no database that it can be in: write sqlite:/") as refused:
        Catalogue("oracle://scott:tiger@db/glance?password=tiger")
    assert "tiger" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://u:tiger@h/d", "psycopg", "postgres"),
        ("mariadb://u:tiger@h/d", "pymysql", "mariadb"),
        ("mysql://h/d", "pymysql", "mariadb"),
    ],
)
def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidRequest, match=rf"pip install 'glance-stream\[{extra}\]'") as refused:
        Catalogue(url)
    assert "tiger" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mariadb://u:tiger@h/d?ssl_ca=/nosuch.pem", "option 'ssl_ca' of its URL: No such file"),
        ("mariadb://u:tiger@h/d?ssl_ca=/etc/passwd", "option 'ssl_ca' of its URL: .*no certificate"),
        ("mariadb://u:tiger@h/d?charset=utf8mb4&foo=tiger", "option 'foo' of its URL: its driver knows no such option"),
        ("mariadb://u:tiger@h/d?connect_timeout=tiger", "option 'connect_timeout' of its URL: a value that"),
        ("mariadb://u:tiger@h/d?ssl_cipher=tiger", "option 'ssl_cipher' of its URL: SSLError"),
        ("postgresql://u:tiger@h/d?sslmode=require&foo=tiger", "option 'foo' of its URL: its driver knows no such option"),
        ("postgresql://u:tiger@h/d?connect_timeout=tiger", "option 'connect_timeout' of its URL: a value that"),
        ("postgresql://u:tiger@127.0.0.1:1/d?sslmode=nosuch", 'invalid sslmode value: "nosuch"$'),
    ],
)
def test_an_option_that_is_none(url: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as refused:
        Catalogue(url)
    assert "tiger" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["u:p@tiger@127.0.0.1:1/d", "u/x:tiger@127.0.0.1:1/d", "u/x:tiger@127.0.0.1:1/d?a=b"])
@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_password_that_is_not_encoded(scheme: str, place: str) -> None:
    with pytest.raises(InvalidRequest, match=r"can't be read: percent-encode @ in the password as %40") as refused:
        Catalogue(f"{scheme}://{place}")
    assert "tiger" not in str(refused.value)


def test_what_a_driver_says_on_many_lines_is_told_on_one() -> None:
    with pytest.raises(CatalogueUnavailable) as refused:
        Catalogue("postgresql://u:tiger@/d?host=127.0.0.1:1&host=127.0.0.1:2")
    assert "port 2 failed" in str(refused.value)
    assert not set("\n\t") & set(str(refused.value))


def test_a_port_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the first word as long as for an answer, and not twice."""
    monkeypatch.setattr(engine, "OPENING_SECONDS", 0.5)
    monkeypatch.setattr(servers, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("mariadb", "postgresql"):
            with pytest.raises(CatalogueUnavailable, match="time"):
                Catalogue(f"{scheme}://u:tiger@127.0.0.1:{silent.getsockname()[1]}/d")
        silent.settimeout(0)
        for _ in range(2):
            silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_passwords_are_masked() -> None:
    shown = engine.masked(make_url("postgresql://glance:s3cret@db:5432/images?password=s3cret&sslmode=require"))
    assert shown == "postgresql://glance:***@db:5432/images"


def test_errors_quote_no_values(catalogue: Catalogue, image: Image) -> None:
    task = catalogue.acquire(image.image_id, Task.here(image.image_id, Operation.IMPORT)).task
    catalogue.begin(task, ["a"], importing=True)
    with catalogue._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE journal")
    with pytest.raises(CatalogueError) as refused:
        catalogue.opened(task, {"a": "a trace with a secret"})
    assert "no such table" in str(refused.value)
    assert "secret" not in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.parametrize("dialect", [postgresql.dialect(), mysql.dialect()], ids=["postgresql", "mysql"])
def test_the_tables_can_be_said_to_other_databases(dialect: Any) -> None:
    said = {name: str(CreateTable(table).compile(dialect=dialect)) for name, table in schema.tables.items()}
    if dialect.name == "mysql":
        assert "DATETIME(6)" in said["images"]  # else seconds, and `newest first` would not hold
        assert "utf8mb4_bin" in said["image_locations"]  # else stores `A` and `a` are one
        assert f"BLOB({1 << 30})" in said["fingerprints"]  # else 64 KiB
