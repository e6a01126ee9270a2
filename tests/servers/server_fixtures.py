"""The fixtures of the real servers: whole servers for a session, a bucket, container or pool of its own for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_servers import CephCluster, DatabaseServer, RbdPool, RealDatabase, S3Bucket, S3Server, SwiftContainer, SwiftServer
from server_daemons import BUILD, Fleet

SERVERS = "GLANCE_STREAM_SERVERS"
_fleet = Fleet(Path(os.environ.get(SERVERS, BUILD)).absolute())
# Which server each session fixture is of.
SERVER_OF = {
    "ceph": "ceph",
    "radosgw": "radosgw",
    "radosgw_swift": "radosgw",
    "swift": "swift",
    "swift_s3": "swift",
    "swift_v3": "keystone",
    "postgresql": "postgresql",
    "mariadb": "mariadb",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before `-m servers` chooses among them."""
    for item in items:
        if _servers_of(item):
            item.add_marker("servers")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Start what the test will ask for before its time limit runs (pytest-timeout's wrapper is inside this one)."""
    for server in _servers_of(item):
        _fleet.start(server)
    return (yield)


def _servers_of(item: pytest.Item) -> set[str]:
    """Of its fixtures, and of those that its parameters name: swift_s3_bucket is one of swift_s3."""
    found = {SERVER_OF[fixture] for fixture in SERVER_OF.keys() & set(getattr(item, "fixturenames", ()))}
    if callspec := getattr(item, "callspec", None):
        named = [each for each in callspec.params.values() if isinstance(each, str)]
        found |= {server for each in named for fixture, server in SERVER_OF.items() if f"{each}_".startswith(f"{fixture}_")}
    return found


def pytest_unconfigure() -> None:
    _fleet.stop()


def _fleet_with(server: str) -> Fleet:
    if missing := _fleet.missing(server):
        pytest.skip(
            f"{server}: {', '.join(missing)} not installed: run tests/servers/install.sh and install the package's extra 'test'"
        )
    return _fleet


@pytest.fixture(scope="session")
def ceph() -> CephCluster:
    """A Ceph cluster: one monitor, one osd, a pool "images", a user "glance"."""
    fleet = _fleet_with("ceph")
    said = fleet.description("ceph")
    return CephCluster(
        conf=Path(said["conf"]),
        fsid=said["fsid"],
        mon_host=said["mon_host"],
        pool=said["pool"],
        user=said["user"],
        key=said["key"],
        keyring=Path(said["keyring"]),
        reader_keyring=Path(said["reader_keyring"]),
        objectstore=said["objectstore"],
        daemons=fleet.handles("ceph"),
    )


@pytest.fixture(scope="session")
def radosgw() -> S3Server:
    """The S3 API of Ceph."""
    fleet = _fleet_with("radosgw")
    said = fleet.description("radosgw")
    return S3Server(said["endpoint"], said["access_key"], said["secret_key"], said["region"], fleet.handles("radosgw"))


@pytest.fixture(scope="session")
def radosgw_swift() -> SwiftServer:
    """The Swift API of Ceph, auth version 1."""
    fleet = _fleet_with("radosgw")
    said = fleet.description("radosgw")["swift"]
    return SwiftServer(said["auth_url"], said["user"], said["key"], "1", fleet.handles("radosgw"))


@pytest.fixture(scope="session")
def swift() -> SwiftServer:
    """OpenStack Swift, auth version 1 (tempauth)."""
    fleet = _fleet_with("swift")
    said = fleet.description("swift")
    return SwiftServer(said["auth_url"], said["user"], said["key"], "1", fleet.handles("swift"), memcached=said["memcached"])


@pytest.fixture(scope="session")
def swift_s3() -> S3Server:
    """The S3 API of OpenStack Swift; the same server as `swift`."""
    fleet = _fleet_with("swift")
    said = fleet.description("swift")["s3"]
    return S3Server(said["endpoint"], said["access_key"], said["secret_key"], said["region"], fleet.handles("swift"))


@pytest.fixture(scope="session")
def swift_v3() -> SwiftServer:
    """OpenStack Swift behind OpenStack Keystone, auth version 3."""
    fleet = _fleet_with("keystone")
    said = fleet.description("keystone")
    return SwiftServer(
        said["auth_url"],
        said["user"],
        said["key"],
        "3",
        fleet.handles("keystone"),
        project=said["project"],
        user_domain=said["user_domain"],
        project_domain=said["project_domain"],
        region=said["region"],
        admin_key=said["admin_key"],
        memcached=said["memcached"],
    )


def _database_server(name: str) -> DatabaseServer:
    fleet = _fleet_with(name)
    return DatabaseServer(name, fleet.description(name)["url"], fleet.handles(name)["server"])


@pytest.fixture(scope="session")
def postgresql() -> DatabaseServer:
    return _database_server("postgresql")


@pytest.fixture(scope="session")
def mariadb() -> DatabaseServer:
    return _database_server("mariadb")


@pytest.fixture(params=["postgresql", "mariadb"])
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each of the database servers in turn."""
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["radosgw", "swift_s3"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the S3 servers in turn."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["swift", "swift_v3", "radosgw_swift"])
def swift_server(request: pytest.FixtureRequest) -> SwiftServer:
    """Each of the Swift servers in turn."""
    server: SwiftServer = request.getfixturevalue(request.param)
    return server


def _name() -> str:
    return f"test-{secrets.token_hex(6)}"


@contextmanager
def own_bucket(server: S3Server) -> Iterator[S3Bucket]:
    bucket = S3Bucket(server, _name())
    server.make_bucket(bucket.name)
    yield bucket
    server.empty_bucket(bucket.name)
    server.delete_bucket(bucket.name)


@contextmanager
def own_database(server: DatabaseServer) -> Iterator[RealDatabase]:
    database = RealDatabase(server, f"test_{secrets.token_hex(6)}")
    server.query(f"CREATE DATABASE {database.name}")
    yield database
    server.end_sessions(database.name)
    server.query(f"DROP DATABASE {database.name}{' WITH (FORCE)' if server.name == 'postgresql' else ''}")


@contextmanager
def own_container(server: SwiftServer) -> Iterator[SwiftContainer]:
    container = SwiftContainer(server, _name())
    server.make_container(container.name)
    yield container
    for each in server.containers(container.name):
        server.empty_container(each)
        server.delete_container(each)


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[RealDatabase]:
    """An empty one."""
    with own_database(database_server) as database:
        yield database


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> Iterator[S3Bucket]:
    with own_bucket(s3_server) as bucket:
        yield bucket


@pytest.fixture
def radosgw_bucket(radosgw: S3Server) -> Iterator[S3Bucket]:
    with own_bucket(radosgw) as bucket:
        yield bucket


@pytest.fixture
def swift_s3_bucket(swift_s3: S3Server) -> Iterator[S3Bucket]:
    with own_bucket(swift_s3) as bucket:
        yield bucket


@pytest.fixture
def container(swift_server: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(swift_server) as container:
        yield container


@pytest.fixture
def swift_container(swift: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(swift) as container:
        yield container


@pytest.fixture
def swift_v3_container(swift_v3: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(swift_v3) as container:
        yield container


@pytest.fixture
def radosgw_container(radosgw_swift: SwiftServer) -> Iterator[SwiftContainer]:
    with own_container(radosgw_swift) as container:
        yield container


@pytest.fixture
def rbd_pool(ceph: CephCluster) -> Iterator[RbdPool]:
    pool = RbdPool(ceph, _name())
    ceph.make_pool(pool.name)
    yield pool
    ceph.delete_pool(pool.name)
