"""The stores of a site. One table names every store type; a type's module, and with it its SDK, is imported when one is built."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from glance_stream.config import ByteSize, TransferConfig, WrapperConfig, parse_size, store_from_url, suggestion
from glance_stream.errors import InvalidRequest
from glance_stream.stores.base import Store

S = TypeVar("S", bound=msgspec.Struct)

# type in the configuration -> module, class of the store, class of its options
TYPES = {
    "file": ("glance_stream.stores.file", "FileStore", "FileOptions"),
    "file_directories": ("glance_stream.stores.file.directories", "FileDirectoriesStore", "FileDirectoriesOptions"),
    "glance_store": ("glance_stream.stores.glance_store", "GlanceStoreStore", "GlanceStoreOptions"),
    "http": ("glance_stream.stores.http", "HttpStore", "HttpOptions"),
    "memory": ("glance_stream.stores.memory", "MemoryStore", "MemoryOptions"),
    "rbd": ("glance_stream.stores.rbd", "RbdStore", "RbdOptions"),
    "s3": ("glance_stream.stores.s3", "S3Store", "S3Options"),
    "swift": ("glance_stream.stores.swift", "SwiftStore", "SwiftOptions"),
    "unusable": ("glance_stream.stores.unusable", "UnusableStore", "UnusableOptions"),
}


class StoreSettings(Protocol):
    """What the configuration says of a store."""

    @property
    def type(self) -> str: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def build(store_id: str, settings: StoreSettings, transfer: TransferConfig | None = None) -> Store:
    """The store as configured, in what it is to be wrapped in; nothing is opened. ``transfer``: what holds for every store.

    Settings that are no `WrapperConfig` say nothing of wrappers. Raises InvalidRequest for an unknown type or a wrong option.
    """
    from glance_stream.stores.wrappers.wrapping import wrap  # not before a store is built: it imports every wrapper

    wrappers = settings if isinstance(settings, WrapperConfig) else WrapperConfig()
    return wrap(_build(store_id, settings), wrappers, transfer or TransferConfig())


def _build(store_id: str, settings: StoreSettings) -> Store:
    if settings.type not in TYPES:
        known = TYPES.keys() - {"unusable"}  # which nobody writes: it stands for a store that another configuration names
        raise InvalidRequest(
            f"store {store_id!r}: there is no store type {settings.type!r}{suggestion(settings.type.lower(), known)}"
        )
    module_name, store_class, options_class = TYPES[settings.type]
    module = importlib.import_module(module_name)
    kind = getattr(module, options_class)
    try:
        options = convert_options(settings.options, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"store {store_id!r}: {_problem(str(error), kind)}") from None  # whose words may quote a secret
    try:
        store: Store = getattr(module, store_class).from_options(store_id, options, read_only=settings.read_only)
    except ValueError as error:  # its words are not shown: they may quote an option, and options may hold secrets
        raise InvalidRequest(
            f"store {store_id!r}: an option of it has a value that a store of type {settings.type!r} can't use"
        ) from error
    return store


def convert_options(options: Mapping[str, Any], kind: type[S]) -> S:
    """Options as they stand in a configuration, sizes with a unit too. Raises msgspec.ValidationError."""
    return msgspec.convert(dict(options), kind, strict=False, dec_hook=_decode_size)


def _problem(words: str, kind: type[msgspec.Struct]) -> str:
    """What msgspec says of an option, without the option's value: a secret may stand on the wrong line."""
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", words, re.DOTALL):
        return f"there is no option {unknown[1]!r}{suggestion(unknown[1], kind.__struct_fields__)}"
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", words):
        return f"{missing[1]}: missing: add {missing[1]} = ..."
    message, _, where = words.rpartition(" - at ")
    option = re.search(r"\$\.(\w+)", where)
    if option is None:
        return words  # those of the options' own check, which names the option
    if message.startswith("Expected "):  # then types and bounds follow
        return f"{option[1]}: {message[:1].lower()}{message[1:].replace('`', '')}"
    return f"{option[1]}: expected {_expected(kind, option[1])}"


def _expected(kind: type[msgspec.Struct], option: str) -> str:
    hint = get_type_hints(kind)[option]
    choices = [choice for each in (hint, *get_args(hint)) if get_origin(each) is Literal for choice in get_args(each)]
    if choices:
        return f"one of {', '.join(map(repr, choices))}"
    return "a size: a whole number of bytes, or with one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB, such as '4 MiB'"


def _decode_size(kind: type, value: object) -> ByteSize:
    return parse_size(value)


class Stores(Mapping[str, Store]):
    """A site's stores by id, each built when it is first used, so that a broken one does not stop the others.

    The ids are those of the configuration. A URL such as ``file:///srv/images`` is an id too and needs no configuration; where
    a configured store keeps its images just there, the URL means that store.
    """

    def __init__(
        self,
        settings: Mapping[str, StoreSettings],
        built: Mapping[str, Store] | None = None,
        transfer: TransferConfig | None = None,
    ) -> None:
        """``built``: stores that exist already, beside those of the configuration. ``transfer``: what holds for every store."""
        self._settings: dict[str, StoreSettings] = dict(settings)
        self._transfer = transfer
        self._built = dict(built or {})

    def __getitem__(self, store_id: str) -> Store:
        """Raises KeyError for an unknown id, InvalidRequest for settings that no store can be built from."""
        if store_id in self._built:
            return self._built[store_id]
        if store_id in self._settings:
            store = build(store_id, self._settings[store_id], self._transfer)
        elif "://" in store_id:
            store = self._from_url(store_id)
        else:
            raise KeyError(store_id)
        return self._built.setdefault(store.store_id, store)

    def __contains__(self, store_id: object) -> bool:
        return store_id in self._settings or store_id in self._built or (isinstance(store_id, str) and "://" in store_id)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._settings, *self._built]))

    def __len__(self) -> int:
        return len(self._settings.keys() | self._built.keys())

    def owners(self, url: str) -> list[str]:
        """Ids of the stores that a location's URL points into."""
        return [store_id for store_id in self if self._owns(store_id, url)]

    async def close(self) -> None:
        """Close those that were built."""
        for store in list(self._built.values()):
            await store.close()

    def _from_url(self, url: str) -> Store:
        owners = self.owners(f"{url.rstrip('/')}/any")
        if owners:
            return self[owners[0]]
        store_id, settings = store_from_url(url)
        store = build(store_id, settings, self._transfer)
        # A location is not written as a URL given by hand is: that one may be encoded, or take another way to the same place.
        place = f"file://{store.where.rstrip('/')}/" if settings.type == "file" else store_id
        owners = self.owners(f"{place}any")
        return self[owners[0]] if owners else store

    def _owns(self, store_id: str, url: str) -> bool:
        try:
            return self[store_id].owns(url)
        except Exception:  # a store that can't be built, for want of its SDK too, owns nothing and must not stop the others
            return False
