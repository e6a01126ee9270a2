"""Catalogues of every version become what `tables.py` says, with all that is in them, on every database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from real_servers import DatabaseServer
from server_fixtures import own_database
from sqlalchemy import inspect
from sqlalchemy.dialects.mysql import LONGBLOB

from glance_stream.catalogue import Catalogue, Event, Operation, Task, engine, migrations
from glance_stream.catalogue.tables import FINGERPRINTS_LENGTH, schema
from glance_stream.errors import CatalogueError, InvalidRequest
from glance_stream.model import Location, Status

BASELINE = Path(__file__).parent / "baseline.sql"
IMAGE_ID = "11111111-1111-4111-8111-111111111111"
ACTIVE_ID = "22222222-2222-4222-8222-222222222222"
OPEN = "import sys; from glance_stream.catalogue import Catalogue; Catalogue(sys.argv[1]).close()"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database in which there is nothing."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/catalogue.db"
    else:
        server: DatabaseServer = request.getfixturevalue(request.param)
        with own_database(server) as database:
            yield database.url


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A catalogue that version 0.1.0 left: an active image, and one whose import died."""
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(BASELINE.read_text())
    connection.close()
    return f"sqlite:///{tmp_path}/catalogue.db"


def make_old(url: str) -> None:
    """A catalogue as the first revision makes it, which records no version."""
    database = engine.Database.__new__(engine.Database)
    parsed = engine._parse(url)
    database.name = str(parsed)
    database._engine = engine._create_engine(parsed, "old")
    with database._engine.begin() as connection:
        migrations.upgrade(connection, to=migrations.BASELINE)
        connection.exec_driver_sql(f"DROP TABLE {migrations.TABLE}")
    database.close()


def is_other_type(_context: object, _found_column: object, _column: object, found: object, wanted: object) -> bool | None:
    """MariaDB turns the length of a BLOB into a type."""
    return False if isinstance(found, LONGBLOB) and getattr(wanted, "length", None) == FINGERPRINTS_LENGTH else None


def is_other_default(
    _context: object, _found: object, _column: object, found: str | None, _text: object, wanted: str | None
) -> bool | None:
    """MariaDB gives a time back with all its figures."""
    return False if found and wanted and found.strip("'").replace(".000000", "") == wanted else None


def differences(url: str) -> list[Any]:
    with Catalogue(url) as catalogue, catalogue._database.read() as connection:
        options = {"compare_type": is_other_type, "compare_server_default": is_other_default}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, schema)
        assert set(inspect(connection).get_table_names()) == {*schema.tables, migrations.TABLE}
    return found


def test_a_new_catalogue_is_what_the_tables_say(empty: str) -> None:
    assert differences(empty) == []


def test_an_old_catalogue_becomes_what_the_tables_say(empty: str) -> None:
    make_old(empty)
    assert differences(empty) == []
    with Catalogue(empty) as catalogue, catalogue._database.read() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {migrations.TABLE}").all() == [(migrations.HEAD,)]


def test_checks_and_columns_of_a_file_are_those_of_a_new_one(old: str, tmp_path: Path) -> None:
    """What a comparison of metadata does not see, such as CHECK constraints, is in SQLite's own text."""
    with Catalogue(old) as migrated, Catalogue(f"sqlite:///{tmp_path}/new.db") as new:
        for table in schema.tables:
            with migrated._database.read() as connection:
                first = inspect(connection)
                found = {column["name"]: (str(column["type"]), column["nullable"]) for column in first.get_columns(table)}
                checks = {each["name"]: each["sqltext"] for each in first.get_check_constraints(table)}
                keys = sorted(str(key) for key in first.get_foreign_keys(table))
            with new._database.read() as connection:
                second = inspect(connection)
                assert found == {c["name"]: (str(c["type"]), c["nullable"]) for c in second.get_columns(table)}, table
                assert checks == {each["name"]: each["sqltext"] for each in second.get_check_constraints(table)}, table
                assert keys == sorted(str(key) for key in second.get_foreign_keys(table)), table


def test_what_is_in_an_old_catalogue_survives(old: str) -> None:
    with Catalogue(old) as catalogue:
        active = catalogue.get_image(ACTIVE_ID)
        assert (active.status, active.size, active.name) == (Status.ACTIVE, 5, "jammy ä")
        assert active.locations == (Location("file:///srv/a/x", "a", {"mount": "ä"}),)
        assert active.properties == {"os_distro": "ubuntu", "os_glance_importing_to_stores": "", "os_glance_failed_import": "b"}
        found = catalogue.fingerprints(ACTIVE_ID)
        assert found is not None
        assert (found.slot_size, found.digests) == (4194304, b"f" * 16)
        (dead,) = catalogue.interrupted()
        assert (dead.image.image_id, dead.image.status, dead.task.process.pid) == (IMAGE_ID, Status.IMPORTING, 4242)
        assert dead.journal is not None
        assert [(entry.event, entry.trace) for entry in dead.journal.entries] == [(Event.OPENED, "/srv/a/.temporary")]
        assert [left.leftover.trace for left in catalogue.leftovers()] == ["/srv/b/left"]
        assert [failure.message for failure in catalogue.failures(ACTIVE_ID)] == ["no space left"]
        lock = catalogue.take_over(IMAGE_ID, Task.here(IMAGE_ID, Operation.RECOVER))
        catalogue.record_failure(lock.task, {})
        catalogue.release(lock.task)
        assert catalogue.get_image(IMAGE_ID).status is Status.QUEUED
        with catalogue._database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_several_open_an_old_catalogue_at_once(empty: str, python: Callable[..., Any]) -> None:
    make_old(empty)
    opening = [python(OPEN, empty) for _ in range(3)]
    assert [process.wait(timeout=100) for process in opening] == [0] * 3
    assert differences(empty) == []


def test_several_open_a_new_catalogue_at_once(empty: str, python: Callable[..., Any]) -> None:
    opening = [python(OPEN, empty) for _ in range(3)]
    assert [process.wait(timeout=100) for process in opening] == [0] * 3
    assert differences(empty) == []


def test_threads_migrate_two_catalogues_at_once(tmp_path: Path) -> None:
    """Alembic's `op` is one for the whole process."""
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(4)]
    for url in urls:
        make_old(url)
    problems: list[BaseException] = []

    def open_it(url: str) -> None:
        try:
            Catalogue(url).close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it, args=[url]) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert [differences(url) for url in urls] == [[]] * 4


def test_a_creation_that_died_is_finished(empty: str) -> None:
    """MariaDB keeps each table as it is made."""
    with Catalogue(empty) as catalogue, catalogue._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE journal")
        connection.exec_driver_sql("DROP TABLE operations")
        connection.exec_driver_sql(f"UPDATE {migrations.TABLE} SET version_num = 'new'")
    assert differences(empty) == []


def test_every_revision_may_run_again(empty: str) -> None:
    """MariaDB keeps each of its statements, so a process may die after the last and before the version is recorded."""
    make_old(empty)
    Catalogue(empty).close()
    with Catalogue(empty) as catalogue, catalogue._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.TABLE} SET version_num = '{migrations.BASELINE}'")
    assert differences(empty) == []


def test_a_newer_catalogue_is_refused(empty: str) -> None:
    with Catalogue(empty) as catalogue, catalogue._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.TABLE} SET version_num = '9999'")
    with pytest.raises(InvalidRequest, match=r"schema is 9999 and this program knows it up to .* newer glance-stream"):
        Catalogue(empty)


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE images (id VARCHAR(36), visibility VARCHAR(9))"],
        ["CREATE TABLE alembic_version (version_num VARCHAR(32))", "INSERT INTO alembic_version VALUES ('wallaby_contract01')"],
    ],
)
def test_another_programs_database_is_refused_and_left_alone(empty: str, statements: list[str]) -> None:
    parsed = engine._parse(empty)
    other = engine._create_engine(parsed, "other")
    with other.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with pytest.raises(InvalidRequest, match="give the catalogue a database of its own"):
        Catalogue(empty)
    with other.begin() as connection:
        assert len(inspect(connection).get_table_names()) == 1
    other.dispose()


def test_opening_a_current_catalogue_writes_nothing(old: str, tmp_path: Path) -> None:
    Catalogue(old).close()
    before = (tmp_path / "catalogue.db").read_bytes()
    Catalogue(old).close()
    assert (tmp_path / "catalogue.db").read_bytes() == before


def test_an_old_catalogue_that_is_read_only(old: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="read-only"):
        Catalogue(f"sqlite:///file:{tmp_path}/catalogue.db?mode=ro&uri=true")


def test_a_migration_that_fails_changes_nothing(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: Any) -> None:
        connection.exec_driver_sql("DROP TABLE leftovers")
        raise RuntimeError

    monkeypatch.setattr(migrations, "upgrade", fail)
    with pytest.raises(RuntimeError):
        Catalogue(old)
    monkeypatch.undo()
    with Catalogue(old) as catalogue:
        assert len(catalogue.leftovers()) == 1


def test_a_file_whose_rows_refer_to_nothing_is_not_migrated(old: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        connection.execute("INSERT INTO fingerprints VALUES ('nobody', 1, x'00')")
    connection.close()
    with pytest.raises(CatalogueError, match="a row of fingerprints refers to nothing"):
        Catalogue(old)


def test_the_revisions_are_one_line_that_ends_at_head() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    line = [script.revision for script in scripts.walk_revisions()]
    assert line == sorted(line, reverse=True)
    assert (scripts.get_heads(), line[0], line[-1]) == ([migrations.HEAD], migrations.HEAD, migrations.BASELINE)


@pytest.mark.parametrize("prepare", ["", "from glance_stream.catalogue import Catalogue; Catalogue(sys.argv[1]).close()"])
def test_alembic_is_imported_for_a_migration_only(tmp_path: Path, prepare: str) -> None:
    script = f"import sys; {prepare or OPEN}; {OPEN}; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, f"sqlite:///{tmp_path}/catalogue.db"], check=True, timeout=60)
