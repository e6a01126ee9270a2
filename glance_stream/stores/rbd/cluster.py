"""A store's connection to its Ceph cluster. Everything here blocks, for as long as the time limits allow."""

from __future__ import annotations

import errno
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glance_stream import threads
from glance_stream.errors import StoreDenied, StoreError, StoreTimeout, StoreUnavailable
from glance_stream.stores.rbd.bindings import Bindings, load
from glance_stream.stores.rbd.errors import BLOCKLISTED, code_of, mapped, store_error
from glance_stream.stores.rbd.options import RbdOptions

NO_FSID = "00000000-0000-0000-0000-000000000000"
LEARNING = 10.0  # seconds to wait, where nothing may block for long, for a cluster that only itself can name


class _Connection:
    def __init__(self, client: Any) -> None:
        self.client = client
        self.users = 0
        self.retired = False


class Cluster:
    """One connection for all of a store's calls, made when it is first needed.

    It is given up when the cluster has shut it out or when the store is closed, and shut down when its last user is done: an image
    must never outlive its connection. The next call makes a new one.
    """

    def __init__(self, store_id: str, options: RbdOptions) -> None:
        self._store_id = store_id
        self._options = options
        self._connecting = threading.Lock()
        self._lock = threading.Lock()
        self._current: _Connection | None = None
        self._fsid = options.fsid
        self.features = 0  # of a new image, once connected

    def bindings(self) -> Bindings:
        return load(self._store_id)

    @property
    def known_fsid(self) -> str | None:
        """As the options, the cluster or its configuration file say, without a connection; None if none of them does."""
        if self._fsid is None:
            client = self._client()
            try:
                said = client.conf_get("fsid")
            finally:
                client.shutdown()
            self._fsid = said if said and said != NO_FSID else None
        return self._fsid

    @property
    def fsid(self) -> str:
        """Of the cluster; connects if it must."""
        if self.known_fsid is None:
            with self.pool():
                pass
        assert self._fsid is not None
        return self._fsid

    def fsid_soon(self) -> str:
        """Of the cluster; where only the cluster itself can tell, within `LEARNING` seconds. Raises StoreError."""
        if (known := self.known_fsid) is not None:
            return known
        try:
            return threads.THREADS.submit(lambda: self.fsid).result(LEARNING)
        except TimeoutError as error:
            raise StoreTimeout(self._store_id, f"the cluster has not told its fsid within {LEARNING:g} s") from error

    @contextmanager
    def pool(self) -> Iterator[Any]:
        """An ioctx of the store's pool. Raises StoreUnavailable while the pool is not there."""
        connection = self._take()
        try:
            with self._ioctx(connection.client) as ioctx:
                yield ioctx
        except Exception as error:
            code = _code_behind(error)
            if code in (BLOCKLISTED, errno.ENOTCONN):
                self._retire(connection)
            if code == errno.ENOENT:
                self._require_pool(connection.client)
            raise
        finally:
            self._give_back(connection)

    def _require_pool(self, client: Any) -> None:
        """Raises StoreUnavailable if the pool has been deleted: what was in it is then not known to be missing."""
        with mapped(self._store_id, "no map of the cluster"):
            client.wait_for_latest_osdmap()
            if not client.pool_exists(self._options.pool):
                raise self._no_pool()

    def free_space(self) -> int | None:
        """Bytes that the pool can still take, by its quota too. None where the cluster has no statistics, as without a manager."""
        said = self._ask_monitor(prefix="df", detail="detail", format="json")
        if not said["stats"]["total_bytes"]:
            return None
        for pool in said["pools"]:
            if pool["name"] == self._options.pool:
                stats = pool["stats"]
                room = [int(stats["max_avail"])]
                if stats.get("quota_bytes"):
                    room.append(max(0, stats["quota_bytes"] - stats["stored"]))
                return min(room)
        return None

    def _ask_monitor(self, **command: str) -> Any:
        connection = self._take()
        try:
            with mapped(self._store_id, "no answer from the monitor"):
                code, answer, _ = connection.client.mon_command(json.dumps(command), b"")
        finally:
            self._give_back(connection)
        if code:
            raise store_error(self._store_id, abs(code), f"the monitor does not answer '{command['prefix']}'")
        return json.loads(answer)

    def close(self) -> None:
        with self._lock:
            connection = self._current
        if connection is not None:
            self._retire(connection)
            self._shut_down_unused(connection)

    @contextmanager
    def _ioctx(self, client: Any) -> Iterator[Any]:
        rados = self.bindings().rados
        with mapped(self._store_id, f"pool {self._options.pool}"):
            try:
                ioctx = client.open_ioctx(self._options.pool)
            except rados.ObjectNotFound as error:
                raise self._no_pool() from error
        try:
            ioctx.set_osdmap_full_try()  # a full pool says so; without this a write to it waits until there is room
            yield ioctx
        finally:
            ioctx.close()

    def _no_pool(self) -> StoreUnavailable:
        return StoreUnavailable(self._store_id, f"the cluster has no pool {self._options.pool}")

    def _take(self) -> _Connection:
        with self._connecting:
            with self._lock:
                if self._current is not None:
                    self._current.users += 1
                    return self._current
            connection = _Connection(self._connected())
            connection.users = 1
            with self._lock:
                self._current = connection
            return connection

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            connection.users -= 1
        self._shut_down_unused(connection)

    def _retire(self, connection: _Connection) -> None:
        with self._lock:
            connection.retired = True
            if self._current is connection:
                self._current = None

    def _shut_down_unused(self, connection: _Connection) -> None:
        with self._lock:
            if not connection.retired or connection.users or connection.client is None:
                return
            client, connection.client = connection.client, None
        client.shutdown()

    def _connected(self) -> Any:
        client = self._client()
        try:
            self._connect(client)
            fsid = client.get_fsid()
            if self._options.fsid not in (None, fsid):
                raise StoreError(self._store_id, f"this is the cluster {fsid}, not {self._options.fsid}")
            self._fsid = fsid
            self.features = self._default_features(client)
        except BaseException:
            client.shutdown()
            raise
        return client

    def _connect(self, client: Any) -> None:
        try:
            with mapped(self._store_id, "no connection to the Ceph cluster"):
                client.connect()
        except StoreError as error:
            code = _code_behind(error)
            if code == errno.ENOENT:
                raise StoreDenied(self._store_id, f"no key for the Ceph user {self._user} was found") from error
            if code in (errno.EACCES, errno.EPERM):
                raise StoreDenied(self._store_id, f"the cluster refuses the Ceph user {self._user}") from error
            raise

    def _default_features(self, client: Any) -> int:
        """As glance_store takes them: librbd's ``rbd_default_features``, or layering if there are none."""
        rbd = self.bindings().rbd
        said = client.conf_get("rbd_default_features") or "0"
        features = int(said) if said.isdecimal() else rbd.RBD().features_from_string(said)
        return int(features or rbd.RBD_FEATURE_LAYERING)

    @property
    def _user(self) -> str:
        return f"client.{self._options.user or 'admin'}"

    def _client(self) -> Any:
        """Not connected."""
        rados = self.bindings().rados
        options = self._options
        settings = {
            "rados_osd_op_timeout": math.ceil(options.op_timeout),  # whole seconds is all that Ceph takes
            "rados_mon_op_timeout": math.ceil(options.op_timeout),
            "client_mount_timeout": math.ceil(options.connect_timeout),
            # Our own window of writes is the only buffer: an error then belongs to a write and is not found at some later time.
            "rbd_cache": "false",
            # A deleted image is gone: one in the trash takes up room, and nobody looks for it there.
            "rbd_move_to_trash_on_remove": "false",
        }
        try:
            return rados.Rados(
                rados_id=options.user, conffile=options.ceph_conf or "", conf={name: str(value) for name, value in settings.items()}
            )
        except rados.Error as error:
            conf = options.ceph_conf or "Ceph's configuration file, in none of its usual places,"
            raise StoreUnavailable(self._store_id, f"{conf} can't be read") from error


def _code_behind(error: BaseException | None) -> int:
    """The errno of the first of the bindings' errors among the error and its causes; 0 if none is one."""
    while error is not None:
        if code := code_of(error):
            return code
        error = error.__cause__
    return 0
