"""Images in an OpenStack Swift container, or in radosgw's Swift API, laid out so that glance_store reads, sizes and deletes them.

An image is a static large object under its id; what it is made of lies beside it (``names.py``). glance_store's own images,
plain objects and dynamic large objects, are read and deleted too.
"""

from __future__ import annotations

import threading

from glance_stream import threads
from glance_stream.errors import NotFound, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from glance_stream.model import Location
from glance_stream.retry import RetryPolicy
from glance_stream.sources.base import Source
from glance_stream.stores.base import ObjectStat, Store, Stray, Traits, Writer, require_safe_name
from glance_stream.stores.swift.auth import Authentication
from glance_stream.stores.swift.client import Session, SwiftClient
from glance_stream.stores.swift.connection import Network, Reply
from glance_stream.stores.swift.delete import delete
from glance_stream.stores.swift.names import Group, Names, new_nonce
from glance_stream.stores.swift.options import SwiftOptions
from glance_stream.stores.swift.plan import Limits, Plan, limits_of
from glance_stream.stores.swift.reader import StoredInSwift
from glance_stream.stores.swift.traces import discard, has_published, strays
from glance_stream.stores.swift.writer import SwiftWriter

__all__ = ["SwiftOptions", "SwiftStore"]


class SwiftStore(Store):
    """One container. While it is not there the store is unavailable, unless a writer may make it (``create_container``)."""

    type = "swift"

    def __init__(self, store_id: str, options: SwiftOptions, *, read_only: bool = False, policy: RetryPolicy | None = None) -> None:
        """Connects to nothing. Raises InvalidRequest. ``policy``: for what only a writer can do again."""
        options.check(store_id)
        self.store_id = store_id
        self.traits = Traits(read_only=read_only, marked=True)
        self._options = options
        self._policy = policy or RetryPolicy()
        network = Network(store_id, options.ca, options.insecure, options.connect_timeout, options.read_timeout)
        if options.ca is not None:
            _ = network.trust  # a file that can't be used is told now
        self._client = SwiftClient(network, Authentication(options, network), options.container)
        self._names = Names(options.reference, options.container, options.auth_url, options.account_user)
        self._opening = threading.Lock()
        self._opened = False
        self._seen = False  # the container, by this process
        self._limits: Limits | None = None

    @classmethod
    def from_options(cls, store_id: str, options: SwiftOptions, *, read_only: bool = False) -> SwiftStore:
        return cls(store_id, options, read_only=read_only)

    @property
    def where(self) -> str:
        return f"{self._names.where} at {self._options.auth_url}"

    async def open(self) -> None:
        """Authenticates, looks whether the container is there and asks for the cluster's limits. Makes nothing."""
        await threads.call(self._open)

    def _open(self) -> None:
        with self._opening:
            if self._opened:
                return
            self._client.authentication.access()
            with self._client.session() as session:
                if not self._options.create_container and not session.has_container(otherwise=self.traits.read_only):
                    raise session.no_container()
                self._learn_limits(session)
            self._opened = True

    def _learn_limits(self, session: Session) -> Limits:
        if self._limits is None:
            limits = limits_of(session.info())
            if limits is None and not self.traits.read_only:
                raise StoreError(self.store_id, "the cluster has no static large objects (slo in its pipeline), which images need")
            self._limits = limits or Limits()
        return self._limits

    def writer(self, image_id: str) -> Writer:
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        require_safe_name(image_id)
        group = Group(image_id, new_nonce())
        location = Location(self._names.location(image_id), self.store_id)
        trace = self._names.trace(group)
        return SwiftWriter(
            self._client, self._prepare, group, trace, location, policy=self._policy, verify_etag=self._options.verify_etag
        )

    def _prepare(self, size_hint: int | None) -> Plan:
        with self._client.session() as session:
            container = session.head_container()
            if container is None:
                if not self._options.create_container:
                    raise session.no_container()
                session.create_container()
            self._seen = True
            limits = self._learn_limits(session)
        plan = Plan.of(self._options.segment_size, size_hint, limits, None if container is None else _free(container))
        if not plan.has_room(size_hint or 0):
            raise StoreFull(self.store_id, f"the image has {size_hint} bytes, the container's quota has {plan.room} left")
        return plan

    async def free_space(self) -> int | None:
        """What is left of the container's quota; None if it has none."""
        return await threads.call(self._free_space)

    def _free_space(self) -> int | None:
        with self._client.session() as session:
            container = session.head_container()
            if container is None and not self._options.create_container:
                raise session.no_container()
            return None if container is None else _free(container)

    def open_reader(self, location: Location) -> Source:
        return StoredInSwift(self._client, self._image_of(location))

    async def stat(self, location: Location) -> ObjectStat:
        return ObjectStat(await threads.call(self._size, self._image_of(location)))

    def _size(self, image_id: str) -> int:
        with self._client.session() as session:
            found = session.head(image_id)
            if found is None:
                raise session.missing(image_id)
            if found.length is None:
                raise StoreError(self.store_id, f"the size of {self._options.container}/{image_id} is not told")
            return found.length

    def _is_to_be_made(self) -> bool:
        if self._seen or not self._options.create_container:
            return False
        with self._client.session() as session:
            return not session.has_container(otherwise=True)

    async def delete(self, location: Location) -> None:
        """The image and what it is made of: a static or a dynamic large object, or a plain one."""
        if self.traits.read_only:
            raise StoreReadOnly(self.store_id, "the store is read-only")
        await threads.call(delete, self._client, self._image_of(location))

    async def discard(self, trace: str) -> None:
        """Of a container that is not there nothing is known, and so not that nothing is left: StoreUnavailable."""
        await threads.call(self._discard, self._group_of(trace))

    def _discard(self, group: Group) -> None:
        with self._client.session() as session:
            session.require_container()
        discard(self._client, group)

    async def published(self, trace: str) -> Location | None:
        """Where nothing is there, certain only an hour after the writer was made, and once its segments are gone."""
        group = self._group_of(trace)
        there = await threads.call(has_published, self._client, group)
        return Location(self._names.location(group.image_id), self.store_id) if there else None

    def _group_of(self, trace: str) -> Group:
        group = self._names.group_of(trace)
        if group is None:
            raise StoreError(self.store_id, "not a trace of this store")
        return group

    async def strays(self) -> list[Stray]:
        return await threads.call(strays, self._client, self._names)

    async def find(self, image_id: str) -> Location | None:
        """None too as long as the container is still to be made: this process has not seen it, and may make it."""
        require_safe_name(image_id)
        try:
            await threads.call(self._size, image_id)
        except NotFound:
            return None
        except StoreUnavailable:
            if await threads.call(self._is_to_be_made):
                return None
            raise
        return Location(self._names.location(image_id), self.store_id)

    def owns(self, url: str) -> bool:
        return self._names.image_of(url) is not None

    def _image_of(self, location: Location) -> str:
        image_id = self._names.image_of(location.url)
        if image_id is None:
            raise StoreError(self.store_id, f"the location is not in {self._names.where}")
        return image_id


def _free(container: Reply) -> int | None:
    quota, used = (container.headers.get(name, "") for name in ("x-container-meta-quota-bytes", "x-container-bytes-used"))
    return max(0, int(quota) - int(used)) if quota.isdecimal() and used.isdecimal() else None
