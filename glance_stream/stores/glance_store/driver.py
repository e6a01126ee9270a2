"""Drivers of an installed glance_store: found by their entry points, configured and built as glance_store does for one of many.

Each store has a configuration of its own and nothing of glance_store's process-wide state is used or changed, so that stores may
share a driver and a Glance service may have stores of its own beside them. But for one thing that glance_store's
``BackendGroupConfiguration`` does by itself: the driver's options are made known to the global ``cfg.CONF`` too, under the store's
id and without a value.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from importlib.metadata import entry_points
from typing import Any, Protocol

from glance_stream import threads
from glance_stream.errors import InvalidRequest, StoreError, StoreReadOnly
from glance_stream.stores.glance_store.errors import Mask, mapped

DRIVERS = "glance_store.drivers"
SHARED = "backend_defaults"  # glance_store.driver.SHARED_CONF_GROUP: what all backends take their defaults from
RESERVED_GROUPS = {"DEFAULT", "glance_store", SHARED}
READ_OFFSET, WRITE_ACCESS, REUSABLE = 0b11, 0b1000, 0b1000000  # glance_store.capabilities.BitMasks


class Driver(Protocol):
    """The part of ``glance_store.driver.Store`` that is used here."""

    conf: Any
    url_prefix: str | None

    def add(self, image_id: str, image_file: Any, image_size: int, hashing_algo: str) -> tuple[str, int, str, str, Any]: ...
    def get(self, location: Any, offset: int = 0) -> tuple[Any, int]: ...
    def get_size(self, location: Any) -> int: ...
    def delete(self, location: Any) -> None: ...
    def configure(self, re_raise_bsc: bool = False) -> None: ...
    def get_schemes(self) -> tuple[str, ...]: ...
    def get_store_location_class(self) -> Any: ...
    def is_capable(self, *capabilities: int) -> bool: ...


class Drivers:
    """Makes the driver of one store: one for all calls where the driver says that it can be reused, else a new one for each."""

    def __init__(self, store_id: str, name: str, values: Mapping[str, Any], *, read_only: bool) -> None:
        """``values``: options by name, as in the driver's section of glance-api.conf. Raises InvalidRequest."""
        self.store_id = store_id
        self.name = name
        if store_id in RESERVED_GROUPS:
            raise InvalidRequest(f"store {store_id!r}: glance_store keeps this name for itself: choose another")
        self.made_by = _load(store_id, name)  # a class, or a function that makes an instance
        # As the class says, without asking the backend.
        self.read_only = read_only or not getattr(self.made_by, "_CAPABILITIES", WRITE_ACCESS) & WRITE_ACCESS
        self._conf, self.mask = _configuration(store_id, name, self.made_by, values)
        self._configuring = threading.Lock()  # held for as long as a driver's `configure` takes, or hangs: one at a time
        self._lock = threading.Lock()  # held for a moment, for what is below
        self._shared: Driver | None = None
        self._last: Driver | None = None
        self._closings = 0
        self._first: Future[Driver] | None = None

    @property
    def configured(self) -> Driver | None:
        """A driver that has been configured, to ask for its settings; None before the first `get`."""
        return self._last

    def get(self) -> Driver:
        """A driver to do one thing with. Blocks: may connect. Raises StoreError, StoreReadOnly."""
        closings = self._closings
        with self._configuring:
            if (shared := self._shared) is not None:
                return shared
            with mapped(self.store_id, self.mask):
                made: Driver = self.made_by(self._conf, self.store_id)
                made.configure(re_raise_bsc=not self.read_only)
            if not self.read_only and not made.is_capable(WRITE_ACCESS):
                raise StoreReadOnly(self.store_id, f"the driver {self.name!r} is configured so that it can't write")
            self.mask.add(_secrets_of(made))
            self._keep(made, closings)
            return made

    def _keep(self, made: Driver, closings: int) -> None:
        """Raises StoreError for a driver that was being configured while the store was closed."""
        with self._lock:
            in_time = closings == self._closings
            if in_time:
                self._last = made
                if made.is_capable(REUSABLE):
                    self._shared = made
        if not in_time:
            _let_go(made)
            raise StoreError(self.store_id, "the store was closed while its driver was being configured")

    def first(self) -> Future[Driver]:
        """A `get` on a thread, for who can't wait: the same for all until it has failed. Blocks not."""
        with self._lock:
            if self._first is None or (self._first.done() and self._first.exception() is not None):
                self._first = threads.THREADS.submit(self.get)
            return self._first

    def option(self, name: str) -> Any:
        """An option's value; None if the driver has no such option."""
        own = getattr(self._conf[self.store_id], name, None)
        return getattr(self._conf[SHARED], name, None) if own is None else own

    def close(self) -> None:
        """Let go of the driver. One that is being configured is let go of by the thread that does it, when it ends."""
        with self._lock:
            shared, self._shared, self._last = self._shared, None, None
            self._closings += 1
            if self._first is not None and self._first.done():
                self._first = None
        _let_go(shared)


def _let_go(driver: Driver | None) -> None:
    """Ends the threads that the filesystem driver starts where ``filesystem_store_timeout`` is set."""
    executor = getattr(driver, "timeout_executor", None)
    if executor is not None:
        executor.shutdown(wait=False)


def _load(store_id: str, name: str) -> Any:
    """Raises InvalidRequest with the names that there are, or with what to install."""
    found = {each.name: each for each in entry_points(group=DRIVERS)}
    if not found:
        raise InvalidRequest(f"store {store_id!r}: glance_store is not installed: pip install 'glance-stream[glance-store]'")
    if name not in found:
        raise InvalidRequest(f"store {store_id!r}: glance_store has no driver {name!r}, only {', '.join(sorted(found))}")
    try:
        return found[name].load()
    except ImportError as error:
        raise InvalidRequest(f"store {store_id!r}: the driver {name!r} can't be loaded: {error}") from error


def _configuration(store_id: str, name: str, made_by: Any, values: Mapping[str, Any]) -> tuple[Any, Mask]:
    """A ConfigOpts that holds this store alone, and what masks the secrets in it."""
    from glance_store.driver import _MULTI_BACKEND_OPTS  # type: ignore[import-untyped]
    from oslo_config import cfg

    options = [*(made_by.OPTIONS or []), *_MULTI_BACKEND_OPTS]
    conf = cfg.ConfigOpts()
    conf.register_opts(options, group=store_id)
    conf.register_opts(options, group=SHARED)
    conf.register_opt(cfg.DictOpt("enabled_backends", default={store_id: name}))  # the rbd driver looks
    conf.register_opt(cfg.StrOpt("default_backend", default=store_id), group="glance_store")  # so does the swift driver
    conf([], project="glance-stream", default_config_files=[], default_config_dirs=[])
    for option in options:  # some drivers read their section and nothing beneath it, where glance_store takes the defaults out
        if option.default is not None:
            conf.set_override(option.dest, option.default, group=store_id)
    known = {alias: option for option in options for alias in _names(option)}
    secrets = []
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(option.dest for option in options))}"
            raise InvalidRequest(f"store {store_id!r}: the driver {name!r} has no option {key!r}; {hint}")
        if known[key].secret:
            secrets.append(str(value))
        try:
            conf.set_override(known[key].dest, _literal(value), group=store_id)
            conf[store_id][known[key].dest]
        except (ValueError, TypeError, cfg.Error) as error:
            reason = "is not of its type" if known[key].secret else f"can't be used: {error}"
            raise InvalidRequest(f"store {store_id!r}: the driver's option {key!r} {reason}") from None
    return conf, Mask(secrets)


def _secrets_of(driver: Any) -> Iterator[str]:
    """Those of the accounts in ``swift_store_config_file``."""
    for account in getattr(driver, "ref_params", {}).values():
        yield from (str(account[name]) for name in ("key", "application_credential_secret") if account.get(name))


def _names(option: Any) -> Iterator[str]:
    yield option.dest
    yield option.name
    for deprecated in option.deprecated_opts:
        if deprecated.name:
            yield deprecated.name.replace("-", "_")


def _literal(value: Any) -> Any:
    """The value as it stands: oslo.config would replace ``$name`` in it."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    return [_literal(each) for each in value] if isinstance(value, list) else value
