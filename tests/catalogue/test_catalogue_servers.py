"""Database servers that fail: connections cut, commits without an answer, deadlocks, servers stopped and killed, for real."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cutting_proxy import LATE, LOST, UNANSWERED, CuttingProxy
from real_servers import RealDatabase
from sqlalchemy import Connection

from glance_stream.catalogue import Catalogue, Operation, Task, engine, images, locks, patience, servers
from glance_stream.errors import CatalogueError, CatalogueUnavailable, ImageLocked, InvalidRequest
from glance_stream.model import Image
from glance_stream.retry import RetryPolicy


@pytest.fixture
def catalogue(database: RealDatabase) -> Iterator[Catalogue]:
    with Catalogue(database.url) as opened:
        yield opened


@pytest.fixture
def impatient(catalogue: Catalogue, database: RealDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """The same, with limits of a second or two."""
    for limit in ("LOCK_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(servers, limit, 1)
    monkeypatch.setattr(servers, "CONNECT_SECONDS", 2)
    with Catalogue(database.url) as opened:
        yield opened


@pytest.fixture
def image(catalogue: Catalogue) -> Image:
    return new_image(catalogue)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def new_image(catalogue: Catalogue) -> Image:
    return catalogue.create_image(str(uuid.uuid4()), name=None, disk_format=None, container_format=None, properties={"count": "0"})


def count_one(connection: Connection, image_id: str) -> str:
    """Not idempotent: run twice it counts two."""
    images.hold(connection, image_id)
    count = str(int(images.get(connection, image_id).properties["count"]) + 1)
    images.set_property(connection, image_id, "count", count)
    return count


def count_of(catalogue: Catalogue, image: Image) -> str:
    return catalogue.get_image(image.image_id).properties["count"]


def test_connections_cut_between_operations(catalogue: Catalogue, image: Image, database: RealDatabase) -> None:
    for expected in ("1", "2"):
        assert database.end_sessions() > 0
        assert catalogue._database.change(count_one, image.image_id) == expected
    database.end_sessions()
    assert count_of(catalogue, image) == "2"


def test_a_connection_cut_within_a_transaction(catalogue: Catalogue, image: Image, database: RealDatabase) -> None:
    runs = 0

    def step(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            database.end_sessions()
        return count_one(connection, image.image_id)

    assert catalogue._database.change(step) == "1"
    assert runs == 2
    runs = 0
    assert catalogue._database.look(lambda connection: (step(connection), runs)[1]) == 2
    assert count_of(catalogue, image) in ("1", "2")  # what looks is not to change: whether this was kept is not promised


@pytest.mark.parametrize("how", [LOST, UNANSWERED, LATE])
def test_a_commit_that_is_not_answered_counts_once(database: RealDatabase, image: Image, how: str) -> None:
    place = urlsplit(database.url)
    assert place.hostname
    assert place.port
    with CuttingProxy(place.hostname, place.port) as proxy:
        url = database.url.replace(f":{place.port}/", f":{proxy.port}/")
        with Catalogue(url) as catalogue, ThreadPoolExecutor(1) as threads:
            count_of(catalogue, image)
            sessions = len(database.server.sessions(database.name))
            proxy.cut_next(how)
            counting = threads.submit(catalogue._database.change, count_one, image.image_id)
            if how == LATE:
                until(lambda: proxy.cuts == 1)
                until(
                    lambda: len(database.server.sessions(database.name)) > sessions
                )  # the second run has begun; the first is still open
                proxy.release.set()
            assert counting.result(100) == "1"
            assert proxy.cuts == 1
            assert count_of(catalogue, image) == "1"


def test_a_deadlock(catalogue: Catalogue, pool: ThreadPoolExecutor) -> None:
    first, second = new_image(catalogue), new_image(catalogue)
    together = threading.Barrier(2)
    runs: list[str] = []

    def step(connection: Connection, one: Image, other: Image) -> None:
        runs.append(one.image_id)
        count_one(connection, one.image_id)
        if len(runs) <= 2:
            together.wait(60)
        count_one(connection, other.image_id)

    both = [pool.submit(catalogue._database.change, step, *pair) for pair in ((first, second), (second, first))]
    for each in both:
        each.result(100)
    assert len(runs) >= 3
    assert (count_of(catalogue, first), count_of(catalogue, second)) == ("2", "2")


def test_a_serialization_failure(catalogue: Catalogue, image: Image, database: RealDatabase) -> None:
    runs = 0

    def step(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        count = count_one(connection, image.image_id)
        if runs <= 3:
            connection.exec_driver_sql(
                "DO $$ BEGIN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END $$"
                if database.server.name == "postgresql"
                else "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'could not serialize'"
            )
        return count

    assert catalogue._database.change(step) == "1"
    assert runs == 4


def test_a_row_that_another_holds_for_long(
    catalogue: Catalogue, impatient: Catalogue, image: Image, pool: ThreadPoolExecutor
) -> None:
    runs = 0

    def step(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        return count_one(connection, image.image_id)

    with catalogue._database.write() as holder:
        images.hold(holder, image.image_id)
        waiting = pool.submit(impatient._database.change, step)
        until(lambda: runs >= 2)
    assert waiting.result(100) == "1"


def test_a_row_that_is_never_let_go(
    catalogue: Catalogue, impatient: Catalogue, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRIES", RetryPolicy(tries=2, base=0.01))
    with catalogue._database.write() as holder:
        images.hold(holder, image.image_id)
        with pytest.raises(CatalogueUnavailable, match=r"timeout|no answer|timed out"):
            impatient.update_properties(image.image_id, {"a": "b"})
    assert impatient.update_properties(image.image_id, {"a": "b"}).properties["a"] == "b"


def test_a_client_that_stands_still_in_a_transaction_loses_it(
    catalogue: Catalogue, database: RealDatabase, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host was switched off, say: the server has not heard of that, and others wait for its rows."""
    monkeypatch.setattr(servers, "IDLE_SECONDS", 1)
    switched_off = Catalogue(database.url)
    monkeypatch.undo()

    def stand_still() -> None:
        with switched_off._database.write() as idle:
            images.hold(idle, image.image_id)
            assert catalogue._database.change(count_one, image.image_id) == "1"
            images.get(idle, image.image_id)

    with switched_off, pytest.raises(CatalogueUnavailable):
        stand_still()
    assert count_of(catalogue, image) == "1"


def test_a_server_that_stands_still(impatient: Catalogue, image: Image, database: RealDatabase, pool: ThreadPoolExecutor) -> None:
    """Longer than anybody waits for an answer: asked again, and done once when it goes on."""
    with database.server.paused():
        counting = pool.submit(impatient._database.change, count_one, image.image_id)
        looking = pool.submit(impatient.get_image, image.image_id)
        time.sleep(4)
        assert not counting.done()
    assert counting.result(100) == "1"
    assert looking.result(100).image_id == image.image_id
    assert count_of(impatient, image) == "1"


def test_a_server_that_stands_still_for_too_long(
    impatient: Catalogue, image: Image, database: RealDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRIES", RetryPolicy(tries=2, base=0.01))
    with database.server.paused(), pytest.raises(CatalogueUnavailable) as refused:
        impatient.get_image(image.image_id)
    assert "glance:glance" not in str(refused.value)
    monkeypatch.undo()
    assert impatient.get_image(image.image_id) == image


def test_a_server_killed_and_started_again(
    catalogue: Catalogue, image: Image, database: RealDatabase, pool: ThreadPoolExecutor
) -> None:
    stop = threading.Event()

    def count() -> int:
        done = 0
        while not stop.is_set():
            catalogue._database.change(count_one, image.image_id)
            done += 1
        return done

    counting = [pool.submit(count) for _ in range(3)]
    until(lambda: int(count_of(catalogue, image)) > 5)
    database.server.kill()
    database.server.restart()
    before = int(count_of(catalogue, image))
    until(lambda: int(count_of(catalogue, image)) > before)
    stop.set()
    assert sum(each.result(100) for each in counting) == int(count_of(catalogue, image))


def test_a_server_that_stays_away(
    database: RealDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "SIGN_SECONDS", 0.2)
    monkeypatch.setattr(engine, "RETRIES", RetryPolicy(tries=1000, base=0.05, cap=0.2, budget=1.0))
    monkeypatch.setattr(patience, "SHORTLY", RetryPolicy(tries=2, base=0.05))
    with Catalogue(database.url) as catalogue:
        image = new_image(catalogue)
        with database.server.killed(), caplog.at_level(logging.WARNING, "glance_stream"):
            with pytest.raises(CatalogueUnavailable, match=r"refused|Can't connect"):
                catalogue.get_image(image.image_id)
            with pytest.raises(CatalogueUnavailable, match=r"still does not answer$"):
                catalogue.update_properties(image.image_id, {"a": "b"})
        (record,) = caplog.records
        assert record.getMessage().startswith("the catalogue does not answer, and is waited for, up to 1 s: catalogue ")
        assert catalogue.update_properties(image.image_id, {"a": "b"}).properties["a"] == "b"


def test_a_server_that_is_not_there_when_the_catalogue_is_opened(database: RealDatabase) -> None:
    """Nothing has begun, so nobody waits."""
    place = urlsplit(database.url)
    with pytest.raises(CatalogueUnavailable, match=r"refused|Can't connect"):
        Catalogue(database.url.replace(f":{place.port}/", ":1/"))


def test_a_wrong_password_and_a_database_that_is_not_there(mariadb: Any, database: RealDatabase) -> None:
    for url in (mariadb.url.replace("glance:glance", "glance:wrong-secret"), f"{database.server.url}nosuch"):
        with pytest.raises(CatalogueError) as refused:
            Catalogue(url)
        assert "wrong-secret" not in str(refused.value)


def test_options_of_the_url_reach_the_driver(database: RealDatabase) -> None:
    option = "sslmode=verify-full" if database.server.name == "postgresql" else "ssl_ca=/nosuch/ca.pem"
    with pytest.raises((CatalogueError, InvalidRequest), match=r"SSL|root|TLS|No such"):
        Catalogue(f"{database.url}?{option}")


def test_deleting_a_record_waits_for_who_is_taking_its_lock(catalogue: Catalogue, image: Image, pool: ThreadPoolExecutor) -> None:
    """Asked before anything was held, "nobody holds it" was no longer true when the record went, lock and all."""
    task = Task.here(image.image_id, Operation.IMPORT)
    with catalogue._database.write() as connection:
        images.hold(connection, image.image_id)
        locks.take(connection, task, 3600)
        deleting = pool.submit(catalogue.delete_image, image.image_id)
        time.sleep(0.5)
    with pytest.raises(ImageLocked):
        deleting.result(100)
    holder = catalogue.holder(image.image_id)
    assert holder is not None
    assert holder.id == task.id


HOST = """
import os, sys, random, time
from pathlib import Path
from glance_stream.catalogue import Catalogue, Operation, Task
from glance_stream.errors import ImageLocked
from glance_stream.model import Location
url, directory, rounds, *ids = sys.argv[1:]
done = {each: 0 for each in ids}
with Catalogue(url) as catalogue:
    while sum(done.values()) < int(rounds):
        image_id = random.choice(ids)
        try:
            task = catalogue.acquire(image_id, Task.here(image_id, Operation.IMPORT)).task
        except ImageLocked:
            time.sleep(random.uniform(0, 0.02))
            continue
        alone = os.open(Path(directory, image_id), os.O_CREAT | os.O_EXCL)  # two holders: the second fails
        os.close(alone)
        catalogue.begin(task, ["a", "b"], importing=True)
        catalogue.opened(task, {"a": task.id})
        catalogue.renew(task, "so far")
        before = int(catalogue.get_image(image_id).properties["count"])
        catalogue.update_properties(image_id, {"count": str(before + 1)})
        catalogue.record_failure(task, {random.choice("ab"): ("E", "m")})
        os.unlink(Path(directory, image_id))
        catalogue.release(task)
        done[image_id] += 1
print(*done.values())
"""


def test_many_hosts(
    catalogue: Catalogue,
    database: RealDatabase,
    tmp_path: Path,
    python: Callable[..., subprocess.Popen[str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Six processes on three images, while the server's administrator cuts their connections again and again."""
    records = [new_image(catalogue) for _ in range(3)]
    ids = [record.image_id for record in records]
    hosts = [python(HOST, database.url, str(tmp_path), "4", *ids) for _ in range(6)]
    deadline = time.monotonic() + 100
    while any(host.poll() is None for host in hosts) and time.monotonic() < deadline:
        database.end_sessions()
        time.sleep(0.3)
    counted = [host.communicate(timeout=10)[0].split() for host in hosts]
    assert [host.returncode for host in hosts] == [0] * 6
    assert capfd.readouterr().err == ""  # nobody is told of what was done again
    for record, totals in zip(records, zip(*counted, strict=True), strict=True):
        assert count_of(catalogue, record) == str(sum(map(int, totals)))
        properties = catalogue.get_image(record.image_id).properties
        assert properties["os_glance_importing_to_stores"] == ""
        assert properties["os_glance_failed_import"] in ("a", "b", "a,b")
    assert catalogue.interrupted() == []


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
