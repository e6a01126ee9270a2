"""Places and databases for a harness: real servers, started by tests/servers where they are not running yet."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "servers"))

from real_databases import DatabaseServer
from real_servers import CephCluster, S3Server, SwiftServer
from server_daemons import BUILD, Fleet

from crash.places import FilePlace, Place, S3Place, SwiftPlace

SERVERS = "GLANCE_STREAM_SERVERS"


class Servers:
    """What it starts it stops."""

    def __init__(self) -> None:
        self._fleet = Fleet(Path(os.environ.get(SERVERS, BUILD)).absolute())

    def place(self, kind: str, directory: Path) -> Place:
        """``kind``: file, s3 (radosgw), swift, rbd; with a number behind it for more than one of a kind."""
        if kind.startswith("file"):
            return FilePlace(kind, directory / kind)
        if kind.startswith("s3"):
            return S3Place(kind, self.s3())
        if kind.startswith("swift"):
            return SwiftPlace(kind, self.swift())
        if kind.startswith("rbd"):
            from crash.rbd_place import RbdPlace  # whose bindings are the distribution's

            return RbdPlace(kind, self.ceph())
        raise SystemExit(f"there is no store of kind {kind!r}: file, s3, swift, rbd")

    def s3(self) -> S3Server:
        said = self._described("radosgw")
        return S3Server(said["endpoint"], said["access_key"], said["secret_key"], said["region"], {})

    def swift(self) -> SwiftServer:
        said = self._described("swift")
        return SwiftServer(said["auth_url"], said["user"], said["key"], "1", {})

    def ceph(self) -> CephCluster:
        said = self._described("ceph")
        paths = {name: Path(said[name]) for name in ("conf", "keyring", "reader_keyring")}
        words = {name: said[name] for name in ("fsid", "mon_host", "pool", "user", "key", "objectstore")}
        return CephCluster(**paths, **words, daemons={})

    @contextmanager
    def database(self, name: str, directory: Path) -> Iterator[str]:
        """The URL of an empty one, which is gone afterwards."""
        if "://" in name:
            yield name
            return
        if name == "sqlite":
            yield f"sqlite:///{directory / 'catalogue.db'}"
            return
        if name not in ("postgresql", "mariadb"):
            raise SystemExit(f"there is no database {name!r}: sqlite, postgresql, mariadb, or a URL")
        server = DatabaseServer(name, self._described(name)["url"], self._fleet.handles(name)["server"])
        database = f"crash_{secrets.token_hex(6)}"
        server.query(f"CREATE DATABASE {database}")
        yield f"{server.url}{database}"
        server.end_sessions(database)
        server.query(f"DROP DATABASE {database}")

    def _described(self, server: str) -> dict:  # type: ignore[type-arg]
        if missing := self._fleet.missing(server):
            raise SystemExit(f"{server}: {', '.join(missing)} not installed: run tests/servers/install.sh")
        return self._fleet.description(server)

    def start(self, kinds: Sequence[str], database: str) -> None:
        """Those that harnesses side by side share: otherwise the first to end stops them for all."""
        wanted = {"s3": "radosgw", "swift": "swift", "rbd": "ceph"}
        servers = [server for kind, server in wanted.items() if any(each.startswith(kind) for each in kinds)]
        for server in [*servers, *([database] if database in ("postgresql", "mariadb") else [])]:
            self._described(server)

    def close(self) -> None:
        self._fleet.stop()


def make_places(servers: Servers, kinds: Sequence[str], directory: Path) -> list[Place]:
    return [servers.place(kind, directory) for kind in kinds]
