"""The configuration file: what it may say, and how each mistake is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glance_stream import config
from glance_stream.config import ByteSize, Config, StoreConfig, load, mask_password, parse_size, store_from_url
from glance_stream.errors import InvalidRequest

EXAMPLE = """
default_store = "mirror"
hashing_algorithm = "sha256"
image_size_cap = 2199023255552
[catalogue]
url = "sqlite:////var/lib/glance-stream/catalogue.db"
[transfer]
slots = 4
slot_size = "8 MiB"
store_timeout = 30
[stores.fast]
type = "file"
path = "/srv/images"
thin = true
[stores.mirror]
type = "http"
description = "größe"
read_only = true
url = "https://mirror.example/images/"
"""
STORE = '[stores.a]\ntype = "file"\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "GLANCE_STREAM_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        file = tmp_path / "etc" / "config.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write_file


def test_everything_that_is_written_is_read(write: Callable[[str], Path]) -> None:
    file = write(EXAMPLE)
    found = load(file)
    assert found.source == file
    assert (found.default_store, found.hashing_algorithm, found.image_size_cap) == ("mirror", "sha256", 2 << 40)
    assert found.catalogue.url == "sqlite:////var/lib/glance-stream/catalogue.db"
    assert (found.transfer.slots, found.transfer.slot_size, found.transfer.store_timeout) == (4, 8 << 20, 30.0)
    assert list(found.stores) == ["fast", "mirror"]
    fast, mirror = found.stores["fast"], found.stores["mirror"]
    assert (fast.type, fast.read_only, dict(fast.options)) == (
        "file",
        False,
        {"path": "/srv/images", "thin": True},
    )
    assert (mirror.description, mirror.read_only) == ("größe", True)
    assert dict(mirror.options) == {"url": "https://mirror.example/images/"}


def test_without_a_file_there_is_one_store_in_the_users_data_directory(home: Path) -> None:
    found = load()
    data = home / ".local/share/glance-stream"
    assert found.source is None
    assert found.catalogue.url == f"sqlite:///{data}/catalogue.db"
    assert found.stores == {"default": StoreConfig(type="file", options={"path": f"{data}/images"})}
    assert found.default_store == "default"
    assert (found.hashing_algorithm, found.image_size_cap) == ("sha512", 1 << 40)
    assert (found.transfer.slots, found.transfer.slot_size, found.transfer.store_timeout) == (8, 4 << 20, 300.0)
    assert not home.exists()


def test_the_nearest_file_wins(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(file: Path, name: str) -> str:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'[stores.{name}]\ntype = "memory"')
        return str(file)

    store(home / ".config/glance-stream/config.toml", "users")
    assert load().default_store == "users"
    monkeypatch.setenv("GLANCE_STREAM_CONFIG", store(tmp_path / "variable.toml", "variable"))
    assert load().default_store == "variable"
    assert load(store(tmp_path / "option.toml", "option")).default_store == "option"
    monkeypatch.setenv("GLANCE_STREAM_CONFIG", "")
    assert load().default_store == "users"
    monkeypatch.setenv("GLANCE_STREAM_CONFIG", "~/missing.toml")
    with pytest.raises(InvalidRequest, match=r"home/missing.toml: No such file"):
        load()


def test_paths_are_made_absolute(write: Callable[[str], Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISK", "/mnt/ä")
    file = write(
        '[catalogue]\nurl = "sqlite:///state/c.db?timeout=5"\n[stores.a]\ntype = "file"\npath = "../images"\n'
        'ca_file = "~/ca.pem"\nca = "web.pem"\n'
        '[stores.b]\ntype = "file"\npath = "${DISK}/b"\nprefix = "$x/~"\nurl = "relative"'
    )
    found = load(file)
    assert found.catalogue.url == f"sqlite:///{file.parent}/state/c.db?timeout=5"
    images = str(file.parent.parent / "images")
    assert dict(found.stores["a"].options) == {"path": images, "ca_file": f"{home}/ca.pem", "ca": f"{file.parent}/web.pem"}
    assert dict(found.stores["b"].options) == {"path": "/mnt/ä/b", "prefix": "$x/~", "url": "relative"}


@pytest.mark.parametrize("url", ["postgresql+psycopg://u@h/d", "sqlite:///file:c.db?mode=ro&uri=true", "sqlite:////c.db"])
def test_other_catalogue_urls_stay_as_they_are(write: Callable[[str], Path], url: str) -> None:
    assert load(write(f'[catalogue]\nurl = "{url}"')).catalogue.url == url


def test_a_file_without_stores_has_the_built_in_one(write: Callable[[str], Path]) -> None:
    assert list(load(write("[transfer]\nslots = 3")).stores) == ["default"]


def test_the_first_store_is_the_default(write: Callable[[str], Path]) -> None:
    assert load(write('[stores.zebra]\ntype = "file"\n' + STORE)).default_store == "zebra"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hashing_algoritm = 'md5'", "hashing_algoritm: unknown key; did you mean 'hashing_algorithm'?"),
        ("[store.a]\ntype = 'file'", "store: unknown key; did you mean 'stores'?"),
        ("colour = 1", "colour: unknown key; known: catalogue,"),
        ("source = '/etc/passwd'", "source: unknown key"),
        ("[transfer]\nslotsize = 4", "transfer.slotsize: unknown key; did you mean 'slot_size'?"),
        ("[catalogue]\nuri = 'x'", "catalogue.uri: unknown key; did you mean 'url'?"),
        ("[catalogue]\nlease = 3600", "catalogue.lease: expected a time such as 90m, 24h or 7d, got 3600"),
        ("[catalogue]\nlease = '0s'", "catalogue.lease: must be at least 1s"),
        ("catalogue = 3", "catalogue: expected"),
        ("[catalogue]\nurl = 3", "catalogue.url: expected str, got int"),
        ("[transfer]\nslots = 'many'", "transfer.slots: expected int, got str"),
        ("[transfer]\nslots = 1", "transfer.slots: expected int >= 2"),
        ("[transfer]\nstore_timeout = 0", "transfer.store_timeout: expected float > 0"),
        ("[transfer]\nslot_size = '4 XiB'", "transfer.slot_size: unknown unit 'XiB', write one of B, KiB"),
        ("[transfer]\nslot_size = '100 kB'", "transfer.slot_size: must be a multiple of 4 KiB"),
        ("[transfer]\nslot_size = '2 GiB'", "transfer.slot_size: must be a multiple of 4 KiB from 64 KiB to 1 GiB"),
        ("image_size_cap = true", "image_size_cap: expected a size such as 4194304 or '4 MiB', got True"),
        ("image_size_cap = 0", "image_size_cap: expected a whole number of bytes, at least 1"),
        ("hashing_algorithm = 'sha51'", "hashing_algorithm: 'sha51' is not available; did you mean 'sha512'?"),
        ("hashing_algorithm = 'shake_128'", "hashing_algorithm: 'shake_128' is not available"),
        ("hashing_algorithm = 512", "hashing_algorithm: expected str, got int"),
        ("default_store = 'b'\n" + STORE, "default_store: there is no store 'b'; known: a"),
        ("default_store = 3\n" + STORE, "default_store: expected str, got int"),
        ("[stores]", "stores: there are none; add a table [stores.NAME]"),
        ("stores = []", "stores: must be tables"),
        ("[stores]\na = 'file:///x'", "stores.a: must be a table: write [stores.a]"),
        ("[stores.a]\npath = '/x'", "stores.a: missing: add type = ..."),
        ("[stores.a]\ntype = 3", "stores.a.type: expected str, got int"),
        ("[stores.a]\ntype = ''", "stores.a.type: expected str of length >= 1"),
        (STORE + "description = 3", "stores.a.description: expected str, got int"),
        (STORE + "read_only = 'yes'", "stores.a.read_only: expected bool, got str"),
        (STORE + "path = '$NO_SUCH/x'", "stores.a.path: environment variable NO_SUCH is not set"),
        (STORE + "path = '${NO_SUCH}/x'", "stores.a.path: environment variable NO_SUCH is not set"),
        (
            "[stores.os_glance_staging_store]\ntype = 'file'",
            "stores.os_glance_staging_store: store ids that begin with 'os_glance_'",
        ),
        ('[stores."a,b"]\ntype = "file"', "stores.a,b: a store id has no comma"),
        ('[stores.""]\ntype = "file"', "a store id has 1 to 255 characters"),
        ('[stores." a"]\ntype = "file"', "no space around them"),
        ('[stores."a\\n"]\ntype = "file"', "a store id"),
        ("a = 1\nb =\n", "not TOML: Invalid value (at line 2"),
        (STORE + STORE, "not TOML: Cannot declare"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(write: Callable[[str], Path], text: str, said: str) -> None:
    file = write(text)
    with pytest.raises(InvalidRequest) as refused:
        load(file)
    assert f"configuration {file}: " in str(refused.value)
    assert said in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="No such file or directory; name another with --config"):
        load(tmp_path / "missing.toml")
    with pytest.raises(InvalidRequest, match="Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe4'")
    with pytest.raises(InvalidRequest, match="not UTF-8 at byte 5"):
        load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (4096, 4096),
        ("4096", 4096),
        ("4 MiB", 4 << 20),
        ("4MiB", 4 << 20),
        (" 1.5 gib ", 3 << 29),
        ("2 TB", 2 * 10**12),
        ("7 B", 7),
        ("10 kB", 10_000),
        ("9007199254740993 B", 9007199254740993),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size
    assert isinstance(parse_size(value), ByteSize)


@pytest.mark.parametrize("value", ["", "MiB", "-1", -1, 0, "0 MiB", 1.5, "1.5 B", "4 Mb/s", "4 M", None, True, "1e3", "٤"])
def test_sizes_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match=r"size|unit|whole"):
        parse_size(value)


def test_secrets_are_not_shown(write: Callable[[str], Path]) -> None:
    file = write("[catalogue]\nurl = 'postgresql://u:s3c?ret@h/d?password=s3cret'\n[stores.a]\ntype = 's3'\nsecret_key = 's3cret'")
    found = load(file)
    assert found.stores["a"].options["secret_key"] == "s3cret"
    for shown in (repr(found), str(found), repr(found.stores["a"].__rich_repr__()), repr(found.catalogue.__rich_repr__())):
        assert "s3c" not in shown
    assert "postgresql://***@h/d" in repr(found)


@pytest.mark.parametrize(
    ("url", "store_id", "path"),
    [
        ("file:///srv/images", "file:///srv/images", "/srv/images"),
        ("file:///srv//x/../images/", "file:///srv/images", "/srv/images"),
        ("FILE://localhost/srv", "file:///srv", "/srv"),
        ("file:///srv/gr%C3%B6%C3%9Fe", "file:///srv/gr%C3%B6%C3%9Fe", "/srv/größe"),
        ("file:///srv/größe", "file:///srv/gr%C3%B6%C3%9Fe", "/srv/größe"),
        ("file:///a,b", "file:///a%2Cb", "/a,b"),
        ("file:////srv", "file:///srv", "/srv"),
    ],
)
def test_a_directory_needs_no_configuration(url: str, store_id: str, path: str) -> None:
    found, store = store_from_url(url)
    assert (found, store.type, dict(store.options)) == (store_id, "file", {"path": path})
    assert store_from_url(found)[0] == found
    config.check_store_id(found)


def test_an_http_store_needs_no_configuration() -> None:
    store_id, store = store_from_url("HTTPS://Mirror.Example:8443/images")
    assert store_id == "https://mirror.example:8443/images/" == store_from_url(store_id)[0]
    assert (store.type, store.read_only, store.options["url"]) == ("http", True, store_id)
    assert store_from_url("http://[::1]:80/x")[0] == "http://[::1]:80/x/"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/images",
        "file:srv",
        "file://host/srv",
        "file:///a%00b",
        "file:///a?b",
        "file:///a#b",
        "http:///x",
        "http://[/x",
        "https://u:s3cret@h/x",
        "s3://key:s3cret@host/bucket",
        "s3://bucket",
        "http://h:port/",
    ],
)
def test_urls_that_need_one(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        store_from_url(url)
    assert "s3cret" not in str(refused.value)


def test_reading_a_configuration_imports_no_database() -> None:
    """The command line's --help must be fast."""
    script = "import sys, glance_stream.config as c; c.load(); assert not {'sqlalchemy', 'asyncio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(config.__file__).parent.parent, timeout=30)


def test_a_configuration_cannot_be_changed() -> None:
    found: Config = load()
    with pytest.raises(AttributeError):
        found.default_store = "other"  # type: ignore[misc]


def test_two_stores_in_one_directory_are_refused(tmp_path: Path) -> None:
    """Also through a symbolic link: each image's name would be taken twice."""
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to("one")
    for path in ("one", "./one/", "link"):
        (tmp_path / "c.toml").write_text(f'[stores.a]\ntype = "file"\npath = "one"\n[stores.b]\ntype = "file"\npath = "{path}"\n')
        with pytest.raises(InvalidRequest, match="'a' and 'b' are in the same directory"):
            load(tmp_path / "c.toml")


# -- over another -----------------------------------------------------------------------------------------------------------------


def beneath(tmp_path: Path) -> Config:
    """As another service's files say it."""
    return Config(
        stores={
            "fast": StoreConfig(type="file", description="theirs", weight=3, options={"path": str(tmp_path / "fast")}),
            "far": StoreConfig(type="s3", options={"bucket": "images"}),
        },
        default_store="far",
        catalogue=config.CatalogueConfig(url="sqlite:///elsewhere.db"),
        hashing_algorithm="sha256",
        decompress="never",
        disk_formats=("raw", "qcow2"),
        import_filters=config.ImportFilters(allowed_hosts=("mirror.example",)),
        image_format=config.ImageFormatConfig(require_image_format_match=False),
    )


def test_what_it_does_not_say_is_said_by_the_one_beneath(write: Callable[[str], Path], tmp_path: Path) -> None:
    under = beneath(tmp_path)
    found = load(write('[catalogue]\nurl = "sqlite:////srv/own.db"\n[transfer]\nslots = 4\n'), under)
    assert found.catalogue.url == "sqlite:////srv/own.db"
    assert found.transfer.slots == 4
    for name in ("stores", "default_store", "hashing_algorithm", "decompress", "disk_formats", "import_filters", "image_format"):
        assert getattr(found, name) == getattr(under, name)


def test_what_images_may_hold_and_where_they_may_come_from(write: Callable[[str], Path]) -> None:
    text = 'source_addresses = "public"\n[image_format]\nrequire_image_format_match = false\nvmdk_allowed_types = []\n'
    found = load(write(text))
    assert found.source_addresses == "public"
    assert found.image_format == config.ImageFormatConfig(require_image_format_match=False, vmdk_allowed_types=())
    assert load(write("")).source_addresses == "private"
    for wrong in ('source_addresses = "all"', "[image_format]\nrequire_match = true\n", "[image_format]\nvmdk_allowed_types = 5\n"):
        with pytest.raises(InvalidRequest, match=r"source_addresses|image_format"):
            load(write(wrong))


def test_the_catalogue_is_never_that_of_the_one_beneath(tmp_path: Path, home: Path) -> None:
    assert load(None, beneath(tmp_path)).catalogue == load().catalogue


def test_what_it_says_wins_over_the_one_beneath(write: Callable[[str], Path], tmp_path: Path) -> None:
    text = 'default_store = "own"\nhashing_algorithm = "sha512"\ndecompress = "auto"\n[stores.own]\ntype = "file"\npath = "own"\n'
    found = load(write(text), beneath(tmp_path))
    assert (found.default_store, found.hashing_algorithm, found.decompress) == ("own", "sha512", "auto")
    assert list(found.stores) == ["fast", "far", "own"]


def test_a_store_of_the_one_beneath_is_changed_by_what_is_named_and_replaced_where_it_has_a_type(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    text = '[stores.fast]\ndescription = "ours"\nthin = true\n[stores.far]\ntype = "file"\npath = "far"\n'
    found = load(write(text), beneath(tmp_path)).stores
    fast, far = found["fast"], found["far"]
    assert (fast.type, fast.description, fast.weight) == ("file", "ours", 3)
    assert fast.options == {"path": str(tmp_path / "fast"), "thin": True}
    assert (far.type, far.options) == ("file", {"path": str(tmp_path / "etc" / "far")})


def test_a_store_of_either_may_not_lie_in_a_directory_of_the_other(write: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="'fast' and 'own' are in the same directory"):
        load(write(f'[stores.own]\ntype = "file"\npath = "{tmp_path}/fast"\n'), beneath(tmp_path))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://TOKEN@host/images", "http://***@host/images"),
        ("http://TOKEN@host:8080", "http://***@host:8080"),
        ("http://user:TOKEN@host/d", "http://***@host/d"),
        ("http://user:TO/K@EN@host/d", "http://***@host/d"),
        ("http://TO@KEN@host/d", "http://***@host/d"),
        ("http://TO?KEN@host/d", "http://***@host/d"),
        ("http://host/d?token=TOKEN", "http://host/d"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:8080/a", "http://host:8080/a"),
        ("file:///srv/a", "file:///srv/a"),
        ("sqlite:///catalogue.db", "sqlite:///catalogue.db"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url: str, shown: str) -> None:
    assert mask_password(url) == shown


@pytest.mark.parametrize(("written", "seconds"), [("", 3600), ('lease = "90s"', 90), ('lease = "2h"', 7200)])
def test_a_lease_is_written_with_its_unit(write: Callable[[str], Path], home: Path, written: str, seconds: int) -> None:
    found = load(write(f"[catalogue]\n{written}\n{STORE}path = '/a'")).catalogue
    assert found.lease == seconds
    assert found.url.startswith(f"sqlite:///{home}")
