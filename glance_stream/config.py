"""The configuration: typed data from one TOML file. Reads that file and does nothing else.

A store's own options pass through as they stand, for its type to check; only paths among them are made absolute here, because
only here is it known what they are relative to.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec

from glance_stream.errors import InvalidRequest
from glance_stream.model import CONTAINER_FORMATS, DEFAULT_HASH_ALGO, DISK_FORMATS
from glance_stream.units import ByteSize as ByteSize
from glance_stream.units import Duration, parse_duration
from glance_stream.units import parse_size as parse_size

CONFIG_VARIABLE = "GLANCE_STREAM_CONFIG"
APPLICATION = "glance-stream"
RESERVED_STORE_PREFIX = "os_glance_"  # Glance's staging and tasks stores; all-stores once imported into them (bug 1863879)
PATH_OPTIONS = re.compile(r"(.*_)?(path|file|dir|ca)")  # names of store options that are paths: `path`, `ca_file`, ...
SLOT_ALIGNMENT = 4096
UNDER = (  # what another configuration may say in the place of this one, beside its stores
    "hashing_algorithm",
    "image_size_cap",
    "decompress",
    "disk_formats",
    "container_formats",
    "import_filters",
    "source_addresses",
    "image_format",
)

S = TypeVar("S", bound=msgspec.Struct)
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class CatalogueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records are. ``lease``: how long an operation without progress keeps its image; Glance's is 60 minutes."""

    url: str
    lease: Duration = Duration(3600)

    def __repr__(self) -> str:
        return f"CatalogueConfig(url={mask_password(self.url)!r}, lease={int(self.lease)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", mask_password(self.url)), ("lease", int(self.lease))]


class WrapperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a store is wrapped in (`glance_stream.stores.wrappers`). Limits in bytes a second, times in seconds; None: not said.

    retries: after a failure that may pass, begun within retry_budget; 0 for none. open_timeout: for the first contact.
    call_timeout: for each other call, but a flush and a commit. progress_timeout: for a drain or a read that does not move.
    """

    bandwidth: ByteSize | None = None
    retries: Count | None = None
    retry_budget: Seconds | None = None
    open_timeout: Seconds | None = None
    call_timeout: Seconds | None = None
    progress_timeout: Seconds | None = None


class TransferConfig(WrapperConfig, frozen=True, kw_only=True):
    """What one pass may use: memory is slots x slot_size; a store or source silent for its timeout (seconds) is given up.

    ``bandwidth`` is what all stores of the process share. The rest of a `WrapperConfig` counts where a store's says nothing.
    """

    slots: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 8
    slot_size: ByteSize = ByteSize(4 << 20)
    store_timeout: Seconds = 300.0
    source_timeout: Seconds = 3600.0


class ImportFilters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which URLs images may be imported from: Glance's ``[import_filtering_opts]``. An allow list overrides its deny list."""

    allowed_schemes: tuple[str, ...] = ("http", "https")
    disallowed_schemes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    disallowed_hosts: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    disallowed_ports: tuple[int, ...] = ()


class ImageFormatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What images may hold: Glance's ``[image_format]``; see `glance_stream.inspection.Inspection`."""

    require_image_format_match: bool = True
    vmdk_allowed_types: tuple[str, ...] = ("streamOptimized", "monolithicSparse")
    gpt_safety_checks_nonfatal: tuple[str, ...] = ()


class StoreConfig(WrapperConfig, frozen=True, kw_only=True):
    """One store. ``options`` are for the store's type to check, and may hold secrets: they are never shown.

    weight: of an image's copies the one in the store of the highest weight is read first, after the default store's.
    """

    type: Annotated[str, msgspec.Meta(min_length=1)]
    description: str = ""
    read_only: bool = False
    weight: int = 0
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"StoreConfig(type={self.type!r}, options={sorted(self.options)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("type", self.type), ("options", sorted(self.options))]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. ``source`` is the file it came from; None for the built-in one.

    decompress: what an import does that says nothing itself, 'auto' or 'never'. import_filters: None lets every URL pass.
    source_addresses: of web sources, see `glance_stream.sources.http_peers.refusal`.
    """

    stores: Mapping[str, StoreConfig]
    default_store: str
    catalogue: CatalogueConfig
    transfer: TransferConfig = TransferConfig()
    hashing_algorithm: str = DEFAULT_HASH_ALGO
    image_size_cap: ByteSize = ByteSize(1 << 40)  # Glance's default, 1 TiB
    decompress: Literal["auto", "never"] = "auto"
    disk_formats: tuple[str, ...] = DISK_FORMATS
    container_formats: tuple[str, ...] = CONTAINER_FORMATS
    import_filters: ImportFilters | None = None
    source_addresses: Literal["any", "private", "public"] = "private"
    image_format: ImageFormatConfig = ImageFormatConfig()
    source: Path | None = None


def load(path: str | os.PathLike[str] | None = None, under: Config | None = None) -> Config:
    """The configuration from ``path``, else $GLANCE_STREAM_CONFIG, else the user's config.toml, else the built-in one.

    ``under``: another that counts where this one says nothing, such as Glance's own. Stores of both are there; a table for a store
    of that one which gives no type changes only what it names. Raises InvalidRequest, which names the file, the key and what to do.
    """
    named = path if path is not None else os.environ.get(CONFIG_VARIABLE) or None
    if named is not None:
        return _read(Path(named).expanduser(), under)
    import platformdirs  # a file named by the caller needs no search

    file = Path(platformdirs.user_config_dir(APPLICATION, appauthor=False)) / "config.toml"
    return _read(file, under) if file.exists() else _config({}, "the built-in configuration", Path.cwd(), None, under)


def store_from_url(url: str) -> tuple[str, StoreConfig]:
    """A store that needs no configuration, with its URL, normalised, for an id. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        host = (f"[{name}]" if ":" in name else name) + (f":{parts.port}" if parts.port else "")
    except ValueError as error:
        raise InvalidRequest(f"store {mask_password(url)!r}: not a URL: {error}") from error
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidRequest(
            f"store {mask_password(url)!r}: credentials and options belong in a [stores.NAME] table, not in the URL"
        )
    path = unquote(parts.path)
    if parts.scheme == "file":
        if host not in ("", "localhost") or not path.startswith("/") or "\0" in path:
            raise InvalidRequest(f"store {url!r}: write file:///absolute/directory")
        path = "/" + os.path.normpath(path).lstrip("/")
        return f"file://{quote(path)}", StoreConfig(type="file", options={"path": path})
    if parts.scheme in ("http", "https") and host:
        normal = f"{parts.scheme}://{host}{quote(path.rstrip('/'))}/"
        return normal, StoreConfig(type="http", read_only=True, options={"url": normal})
    raise InvalidRequest(f"store {url!r}: only file:/// and http(s):// stores need no [stores.NAME] table in the configuration")


def default_catalogue() -> CatalogueConfig:
    """In the user's data directory."""
    return CatalogueConfig(url=f"sqlite:///{_data_directory() / 'catalogue.db'}")


def expand_path(value: str, base: Path) -> str:
    """An absolute path: ``~`` and ``$NAME`` replaced, relative to ``base``. Raises ValueError for a variable that is not set."""
    expanded = os.path.expandvars(os.path.expanduser(value))
    if missing := re.search(r"\$(\w+|\{\w+\})", expanded):
        raise ValueError(f"environment variable {missing[1].strip('{}')} is not set")
    return os.path.normpath(base / expanded)


def mask_password(url: str) -> str:
    """The URL as it may be shown: without what stands before the host, which may be a token alone, and without its query.

    A password may hold a slash and an ``@`` that should have been encoded: all up to the last ``@`` goes then.
    """
    return re.sub(r"://(?:[^:/@]*:.*|[^/]*)@", "://***@", url).partition("?")[0]


def check_store_id(store_id: str) -> None:
    """Raises ValueError. Ids stand comma-joined in Glance's properties."""
    if store_id.startswith(RESERVED_STORE_PREFIX):
        raise ValueError(f"store ids that begin with {RESERVED_STORE_PREFIX!r} are reserved: choose another")
    if not store_id.strip() or store_id != store_id.strip() or len(store_id) > 255:
        raise ValueError("a store id has 1 to 255 characters and no space around them")
    if "," in store_id or not store_id.isprintable():
        raise ValueError("a store id has no comma and no control character")


def _read(file: Path, under: Config | None) -> Config:
    file = Path(os.path.abspath(file))
    try:
        table = tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise InvalidRequest(f"configuration {file}: {error.strerror}; name another with --config") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"configuration {file}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"configuration {file}: not TOML: {error}") from error
    return _config(table, f"configuration {file}", file.parent, file, under)


def _config(table: dict[str, Any], name: str, base: Path, source: Path | None, under: Config | None) -> Config:
    _check_keys(table, _fields(Config) - {"source"}, name, "")
    stores = _stores(table.get("stores"), name, base, under.stores if under else {})
    default = table.get("default_store", under.default_store if under else next(iter(stores)))
    whole = {
        **({} if under is None else {key: getattr(under, key) for key in UNDER}),
        **table,
        "stores": {},
        "default_store": default,
        "catalogue": _catalogue(table.get("catalogue"), name, base),
        "transfer": _section(table.get("transfer", {}), TransferConfig, name, "transfer"),
    }
    config = _convert(whole, Config, name, "")
    check_values(config, stores, name)
    return msgspec.structs.replace(config, stores=stores, source=source)


def check_values(config: Config, stores: Mapping[str, StoreConfig], name: str) -> None:
    """What types don't say. Raises InvalidRequest, which begins with ``name``."""
    if config.default_store not in stores:
        raise InvalidRequest(
            f"{name}: default_store: there is no store {config.default_store!r}{suggestion(config.default_store, stores)}"
        )
    if config.transfer.slot_size % SLOT_ALIGNMENT or not 1 << 16 <= config.transfer.slot_size <= 1 << 30:
        raise InvalidRequest(f"{name}: transfer.slot_size: must be a multiple of 4 KiB from 64 KiB to 1 GiB")
    if config.catalogue.lease < 1:
        raise InvalidRequest(f"{name}: catalogue.lease: must be at least 1s; what holds an image needs time to say that it lives")
    _check_places(stores, name)
    algorithm = config.hashing_algorithm
    if algorithm not in hashlib.algorithms_available or algorithm.startswith("shake"):
        raise InvalidRequest(
            f"{name}: hashing_algorithm: {algorithm!r} is not available{suggestion(algorithm, hashlib.algorithms_available)}"
        )


def _check_places(stores: Mapping[str, StoreConfig], name: str) -> None:
    """Two stores in one directory would meet in every image's name."""
    seen: dict[str, str] = {}
    for store_id, store in stores.items():
        for path in directories_of(store):
            place = os.path.realpath(path)
            if place in seen:
                places = (
                    f"stores {seen[place]!r} and {store_id!r} are" if seen[place] != store_id else f"store {store_id!r} is twice"
                )
                raise InvalidRequest(f"{name}: {places} in the same directory, {path}")
            seen[place] = store_id


def directories_of(store: StoreConfig) -> list[str]:
    """Where a store of files keeps its images."""
    found = {"file": [store.options.get("path")], "file_directories": store.options.get("directories")}.get(store.type)
    return [path for path in found or () if isinstance(path, str)]


def _catalogue(table: object, name: str, base: Path) -> CatalogueConfig:
    if table is None:
        return default_catalogue()
    whole = {"url": default_catalogue().url, **table} if isinstance(table, dict) else table
    config = _section(whole, CatalogueConfig, name, "catalogue")
    scheme, slashes, path = config.url.partition(":///")
    if not scheme.startswith("sqlite") or not slashes or not path or path.startswith(("file:", ":memory:")):
        return config
    database, mark, query = path.partition("?")
    return msgspec.structs.replace(config, url=f"{scheme}:///{_expanded(database, base, name, 'catalogue.url')}{mark}{query}")


def _stores(table: object, name: str, base: Path, under: Mapping[str, StoreConfig]) -> dict[str, StoreConfig]:
    if table is None and under:
        return dict(under)
    if table is None:
        return {"default": StoreConfig(type="file", options={"path": str(_data_directory() / "images")})}
    if not isinstance(table, dict):
        raise InvalidRequest(f"{name}: stores: must be tables, one [stores.NAME] for each store")
    if not table:
        raise InvalidRequest(f"{name}: stores: there are none; add a table [stores.NAME] with type and options")
    own = {store_id: _store(store_id, options, name, base, under.get(store_id)) for store_id, options in table.items()}
    return {**under, **own}


def _store(store_id: str, table: object, name: str, base: Path, under: StoreConfig | None) -> StoreConfig:
    key = f"stores.{store_id}"
    try:
        check_store_id(store_id)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {key}: {error}") from error
    if not isinstance(table, dict):
        raise InvalidRequest(f"{name}: {key}: must be a table: write [{key}] and its options below")
    known = _fields(StoreConfig) - {"options"}
    options = {
        option: _expanded(value, base, name, f"{key}.{option}")
        if isinstance(value, str) and PATH_OPTIONS.fullmatch(option)
        else value
        for option, value in table.items()
        if option not in known
    }
    common = {option: value for option, value in table.items() if option in known}
    if under is not None and "type" not in table:
        common = {option: getattr(under, option) for option in known} | common
        options = {**under.options, **options}
    return _convert({**common, "options": options}, StoreConfig, name, key)


def _section(table: object, kind: type[S], name: str, key: str) -> S:
    if isinstance(table, dict):
        _check_keys(table, _fields(kind), name, f"{key}.")
    return _convert(table, kind, name, key)


def _convert(value: object, kind: type[S], name: str, key: str) -> S:
    try:
        return msgspec.convert(value, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = f"{key}{where.rstrip('`')}".strip(".")
        missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
        problem = f"missing: add {missing[1]} = ..." if missing else message[:1].lower() + message[1:].replace("`", "")
        raise InvalidRequest(f"{name}: {path}: {problem}") from error


def _decode(kind: type, value: object) -> int:
    return parse_duration(value) if kind is Duration else parse_size(value)


def _expanded(value: str, base: Path, name: str, key: str) -> str:
    try:
        return expand_path(value, base)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {key}: {error}") from error


def _check_keys(table: Mapping[str, object], known: set[str], name: str, prefix: str) -> None:
    for key in table:
        if key not in known:
            raise InvalidRequest(f"{name}: {prefix}{key}: unknown key{suggestion(key, known)}")


def _fields(kind: type[msgspec.Struct]) -> set[str]:
    return set(kind.__struct_fields__)


def suggestion(word: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def _data_directory() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir(APPLICATION, appauthor=False))
