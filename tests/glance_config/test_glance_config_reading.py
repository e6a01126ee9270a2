"""How Glance's files are found and read, and how each mistake in them is named."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glance_stream import glance_config
from glance_stream.config import Config, load
from glance_stream.errors import InvalidRequest, StoreDenied
from glance_stream.glance_config import VARIABLE, named
from glance_stream.stores import Stores

HEAD = "[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = a\n[a]\nfilesystem_store_datadir = /srv/a\n"

NOBODY = 65534

Read = Callable[[str], Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str) -> Config:
        (tmp_path / "glance-api.conf").write_text(textwrap.dedent(text))
        return glance_config.load([tmp_path / "glance-api.conf"])

    return read_text


# -- files ------------------------------------------------------------------------------------------------------------------------


def test_a_directory_is_read_as_glance_reads_it(tmp_path: Path) -> None:
    """glance-image-import.conf before glance-api.conf, then the parts; the last word counts."""
    for name, text in {
        "glance-image-import.conf": "[DEFAULT]\nhashing_algorithm = md5\nimage_size_cap = 1\n",
        "glance-api.conf": HEAD + "[DEFAULT]\nimage_size_cap = 2\nlater = /srv/later\n",
        "glance-api.conf.d/20-b.conf": "[a]\nfilesystem_store_datadir = $later\n",
        "glance-api.conf.d/10-a.conf": "[a]\nfilesystem_store_datadir = /srv/earlier\nweight = 3\n",
        "glance-api.conf.d/notes.txt": "no configuration",
        "glance-api-paste.ini": "[pipeline:glance-api]\nno configuration of ours\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = glance_config.load([tmp_path])
    assert (found.hashing_algorithm, found.image_size_cap) == ("md5", 2)
    assert (found.stores["a"].options["path"], found.stores["a"].weight) == ("/srv/later", 3)


def test_a_directory_of_parts_only_is_read(tmp_path: Path) -> None:
    (tmp_path / "10.conf").write_text(HEAD)
    (tmp_path / "20.conf").write_text("[a]\nweight = 1\n")
    assert glance_config.load([tmp_path]).stores["a"].weight == 1


def test_files_are_read_in_order_each_with_its_parts(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text(HEAD)
    (tmp_path / "two.conf").write_text("[a]\nweight = 1\nstore_description = two\n")
    (tmp_path / "one.conf.d").mkdir()
    (tmp_path / "one.conf.d" / "x.conf").write_text("[a]\nweight = 2\n")
    store = glance_config.load([tmp_path / "one.conf", str(tmp_path / "two.conf")]).stores["a"]
    assert (store.weight, store.description) == (2, "two")


def test_the_environment_names_files_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/etc/glance:/etc/more.conf:")
    assert named() == ["/etc/glance", "/etc/more.conf"]
    assert named(["/other"]) == ["/other"]
    monkeypatch.delenv(VARIABLE)
    assert named() == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing", None, "No such file or directory; name another with --glance-config"),
        ("empty", "directory", "neither a glance-api.conf nor any other"),
        ("binary.conf", b"[DEFAULT]\nx = \xff\n", "not UTF-8 at byte 14"),
        ("loose.conf", b"x = 1\n", "line 1: an option stands before the first [section]"),
        ("odd.conf", b"[a]\nmy-password-alone\n", "line 2: No ':' or '=' found in assignment"),
        ("open.conf", b"[a\n", "line 1: "),
    ],
)
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, name: str, content: bytes | str | None, words: str) -> None:
    file = tmp_path / name
    if content == "directory":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        glance_config.load([file])
    assert str(caught.value).startswith(f"configuration {file}: ")
    assert words in str(caught.value)
    assert "my-password" not in str(caught.value)


@pytest.mark.parametrize("closed", ["glance-api.conf", "."])
def test_what_may_not_be_read_is_named_with_what_to_do(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text(HEAD)
    (tmp_path / closed).chmod(0o000)
    us = os.geteuid()
    os.seteuid(us or NOBODY)  # root may read everything
    try:
        with pytest.raises(InvalidRequest, match="Permission denied; run as a user that may read it") as caught:
            glance_config.load([file])
    finally:
        os.seteuid(us)
        (tmp_path / closed).chmod(0o700)
    assert str(file) in str(caught.value)


WITHOUT_OSLO = """
import sys
sys.modules["oslo_config"] = None
from glance_stream import glance_config
from glance_stream.errors import InvalidRequest
try:
    glance_config.load([sys.argv[1]])
except InvalidRequest as error:
    print(error)
assert not [name for name in sys.modules if name.startswith(("glance_store", "glance."))]
"""


def test_without_oslo_config_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(HEAD)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OSLO, str(tmp_path / "a.conf")], capture_output=True, text=True, timeout=60
    )
    assert "pip install 'glance-stream[glance-config]'" in done.stdout, done.stderr


def test_neither_glance_nor_glance_store_nor_the_global_configuration_is_touched(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(HEAD)
    script = (
        "import sys; from glance_stream import glance_config; glance_config.load(sys.argv[1:]); from oslo_config import cfg; "
        "print([m for m in sys.modules if m.split('.')[0] in ('glance', 'glance_store', 'boto3', 'botocore')], "
        "list(cfg.CONF._opts) == list(cfg.ConfigOpts()._opts), list(cfg.CONF._groups))"
    )
    found = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.conf")], capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[] True []", found.stderr


# -- mistakes ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[DEFAULT]\nenabled_backends = a:file\n", "[glance_store] default_backend: missing"),
        (HEAD + "[glance_store]\ndefault_backend = b\n", "'b' is not one of enabled_backends: a"),
        (HEAD + "[DEFAULT]\nenabled_backends = a:file, a:rbd\n", "[DEFAULT] enabled_backends: is given a value"),
        (HEAD + "[DEFAULT]\nenabled_backends = a\n", "[DEFAULT] enabled_backends: is given a value"),
        (
            HEAD + "[DEFAULT]\nenabled_backends = a:file, os_glance_staging_store:file\n",
            "enabled_backends: 'os_glance_staging_store' must not be there: Glance adds its stores for staging and tasks by itself",
        ),
        (
            HEAD + "[os_glance_staging_store]\nfilesystem_store_datadir = /srv/./a/\n",
            "[os_glance_staging_store] filesystem_store_datadir: is the directory of store 'a', where the images are",
        ),
        (
            HEAD.replace(
                "datadir = /srv/a", "datadirs = /srv/a:1\nfilesystem_store_datadirs = /var/lib/glance/os_glance_tasks_store:2"
            ),
            "[os_glance_tasks_store] filesystem_store_datadir: is the directory of store 'a'",
        ),
        (HEAD + "[DEFAULT]\nenabled_backends = a:file, glance_store:file\n", "'glance_store' is a section of its own kind"),
        (HEAD + "[DEFAULT]\nenabled_backends = a:file, b:file\n[b]\nfilesystem_store_datadir = /srv/a/.\n", "same directory"),
        (HEAD + "[DEFAULT]\nhashing_algorithm = sha42\n", "hashing_algorithm: 'sha42' is not available"),
        (HEAD + "[DEFAULT]\nimage_size_cap = much\n", "[DEFAULT] image_size_cap: is given a value that it can't have"),
        (HEAD + "[a]\nweight = heavy\n", "[a] weight: is given a value that it can't have"),
        (HEAD + "[import_filtering_opts]\nallowed_ports = 80,443\n", "[import_filtering_opts] allowed_ports: is given a value"),
        (HEAD + "[a]\nfilesystem_store_datadir = $nowhere/a\n", "refers to an option that is not set, nowhere; write $$"),
        (HEAD + "[a]\nfilesystem_store_datadir = ${b.nowhere}/a\n", "refers to an option that is not set"),
        (HEAD + "[a]\nfilesystem_store_datadir = $filesystem_store_datadir\n", "refers to itself"),
        ("[glance_store]\nstores = file\ndefault_store = rbd\n", "'rbd' is not one of stores: file"),
    ],
)
def test_a_mistake_is_named(read: Read, text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text)
    assert "glance-api.conf" in str(caught.value)
    assert words in str(caught.value)


def test_a_dollar_in_a_password_is_named_without_a_piece_of_it(read: Read) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(
            HEAD.replace("a:file", "a:s3").replace("filesystem_store_datadir", "s3_store_host") + "s3_store_secret_key = ab$cdef\n"
        )
    assert "cdef" not in str(caught.value)
    assert "s3_store_secret_key" in str(caught.value)


def test_two_stores_in_one_directory_are_refused_by_whatever_way_they_get_there(read: Read, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    head = HEAD.replace("a:file", "a:file, b:file").replace("/srv/a", f"{tmp_path}/real")
    for path in ("link", "real/../link", "link/"):
        with pytest.raises(InvalidRequest, match="'a' and 'b' are in the same directory"):
            read(head + f"[b]\nfilesystem_store_datadir = {tmp_path}/{path}\n")
    many = "[b]\nfilesystem_store_datadirs = {0}/other:1\nfilesystem_store_datadirs = {0}/link:2\n"
    with pytest.raises(InvalidRequest, match="'a' and 'b' are in the same directory"):
        read(head + many.format(tmp_path))
    read(head + f"[b]\nfilesystem_store_datadir = {tmp_path}/real2\n")


@pytest.mark.parametrize(
    ("driver", "text", "words"),
    [
        ("file", "filesystem_store_datadir = ", "filesystem_store_datadir is empty"),
        ("file", "filesystem_store_datadir = /x\nfilesystem_store_datadirs = /y:1", "can't both be set"),
        ("file", "filesystem_store_datadirs = /y:high", "'/y:high' is not of the form PATH:PRIORITY"),
        ("file", "filesystem_store_datadirs = y:1", "not an absolute path"),
        ("file", "filesystem_store_datadirs = /y:1\nfilesystem_store_datadirs = /y:2", "/y has two priorities"),
        ("s3", "s3_store_host = h", "s3_store_access_key, s3_store_secret_key, s3_store_bucket must be set"),
        ("rbd", "rbd_store_chunk_size = 64", "more than the 32"),
        ("swift", "swift_store_user = u", "auth_address is missing"),
        ("swift", "swift_store_auth_address = https://h", "neither user and key nor an application credential"),
        ("swift", "swift_store_config_file = /nowhere.conf", "/nowhere.conf: No such file"),
        ("swift", "swift_store_multiple_containers_seed = 3", "swift_store_multiple_containers_seed"),
        ("swift", "swift_store_multi_tenant = true", "only the owner's token opens"),
        ("martian", "", "there is no driver 'martian' here"),
    ],
)
def test_a_store_that_is_configured_wrongly_is_unusable_and_the_others_are_not(
    read: Read, driver: str, text: str, words: str
) -> None:
    found = read(HEAD + f"[DEFAULT]\nenabled_backends = a:file, b:{driver}\n[b]\n{text}\n")
    stores = Stores(found.stores)
    assert stores["a"].where == "/srv/a"
    with pytest.raises(StoreDenied) as caught:
        stores["b"].writer("image")
    assert words in str(caught.value)


FOREIGN = """
    [DEFAULT]
    enabled_backends = a:file, b:{driver}
    [backend_defaults]
    filesystem_store_chunk_size = 131072
    swift_store_large_object_size = 1024
    s3_store_large_object_size = 200
    rados_connect_timeout = 5
    weight = 3
    vmware_api_retry_count = 7
    vmware_server_host = shared
    [b]
    vmware_server_host = own
    vmware_server_pasword = sesame
    filesystem_store_timeout = 4
    """


def test_a_foreign_driver_gets_its_own_options_and_no_others(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    """Glance's tuning of other drivers stands in [backend_defaults] too; the driver's edge here refuses what it does not know."""
    found = read(HEAD + textwrap.dedent(FOREIGN.format(driver="vmware"))).stores["b"]
    assert (found.type, found.weight) == ("glance_store", 3)
    assert found.options == {"driver": "vmware", "options": {"vmware_server_host": "own", "vmware_api_retry_count": "7"}}
    told = [record.getMessage() for record in caplog.records]
    assert any("[b]" in line and "vmware_server_pasword" in line and "'vmware_server_password'" in line for line in told)
    assert any("[b]" in line and "filesystem_store_timeout" in line for line in told)
    assert len(told) == 2
    assert "sesame" not in str(told)


def test_of_a_driver_that_can_not_be_loaded_all_but_the_native_options_stay(
    read: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def entries(**_: str) -> list[EntryPoint]:
        return [EntryPoint("broken", "glance_stream.no_such_module:Store", "glance_store.drivers")]

    monkeypatch.setattr("glance_stream.glance_config.foreign.entry_points", entries)
    found = read(HEAD + textwrap.dedent(FOREIGN.format(driver="broken"))).stores["b"]
    names = {"vmware_server_host": "own", "vmware_api_retry_count": "7", "vmware_server_pasword": "sesame"}
    assert found.options == {"driver": "broken", "options": names}
    assert "sesame" not in caplog.text


def test_in_the_form_of_one_store_of_each_driver_a_foreign_one_gets_its_own(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    found = read(
        "[glance_store]\nstores = file,vmware\ndefault_store = file\nvmware_server_host = own\nfilesystem_store_timeout = 4\n"
        "filesystem_store_datadir = /srv/images\nstore_description = old\n"
    )
    assert found.stores["vmware"].options == {"driver": "vmware", "options": {"vmware_server_host": "own"}}
    assert caplog.records == []


def test_staging_beside_the_stores_is_as_it_should_be(read: Read) -> None:
    head = HEAD + "[os_glance_staging_store]\nfilesystem_store_datadir = /srv/staging\n"
    assert list(read(head).stores) == ["a"]
    assert list(read(head.replace("/srv/staging", "")).stores) == ["a"]


def test_bracketed_lists_multiple_values_and_deprecated_names(read: Read) -> None:
    found = read(
        HEAD
        + "[DEFAULT]\ndisk_formats = raw, iso\n[image_import_opts]\nimage_import_plugins = ['no_op', \"image_decompression\"]\n"
        + "[import_filtering_opts]\nallowed_hosts = [Mirror.example]\ndisallowed_ports = []\n"
    )
    assert found.disk_formats == ("raw", "iso")
    assert found.decompress == "auto"
    assert found.import_filters is not None
    assert (found.import_filters.allowed_hosts, found.import_filters.disallowed_ports) == (("mirror.example",), ())


def test_the_environment_counts_as_for_glance(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_A__FILESYSTEM_STORE_DATADIR", "/srv/environment")
    assert read(HEAD).stores["a"].options["path"] == "/srv/environment"


def test_one_store_of_each_driver_as_before_there_were_many(read: Read) -> None:
    found = read(
        "[glance_store]\nstores = filesystem,https,rbd\ndefault_store = rbd\n"
        "filesystem_store_datadir = /srv/images\nrbd_store_pool = vms\nstore_description = old\n"
    )
    assert {store_id: store.type for store_id, store in found.stores.items()} == {"file": "file", "http": "http", "rbd": "rbd"}
    assert found.default_store == "rbd"
    assert found.stores["file"].options["path"] == "/srv/images"
    assert found.stores["rbd"].options["pool"] == "vms"


def test_an_empty_file_is_glance_as_it_comes(read: Read) -> None:
    found = read("")
    assert (list(found.stores), found.default_store) == (["file", "http"], "file")
    assert found.stores["file"].options["path"] == "/var/lib/glance/images"


def test_an_account_of_swift_in_the_section_itself(read: Read) -> None:
    options = (
        read(
            HEAD + "[DEFAULT]\nenabled_backends = a:file,s:swift\n[s]\nswift_store_auth_address = https://k/v3\n"
            "swift_store_application_credential_id = ID\nswift_store_application_credential_secret = S\nswift_store_user = u\n"
        )
        .stores["s"]
        .options
    )
    assert (options["application_credential_id"], options["application_credential_secret"]) == ("ID", "S")
    assert "user" not in options


def test_our_own_configuration_over_glances(read: Read, tmp_path: Path) -> None:
    own = tmp_path / "config.toml"
    own.write_text('[catalogue]\nurl = "sqlite:////srv/own.db"\n[stores.a]\nretries = 5\n')
    found = load(own, read(HEAD + "[DEFAULT]\nhashing_algorithm = sha256\n"))
    assert (found.catalogue.url, found.hashing_algorithm) == ("sqlite:////srv/own.db", "sha256")
    assert (found.stores["a"].options["path"], found.stores["a"].retries) == ("/srv/a", 5)


# -- whatever is written is read --------------------------------------------------------------------------------------------------

IDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789_-"), min_size=1, max_size=12).filter(
    lambda text: text not in ("default", "backend_defaults", "glance_store") and not text.startswith("os_glance_")
)
PLAIN = st.text(st.sampled_from("abcXYZ019/+=_-.~ \u00e4"), min_size=1, max_size=20).map(str.strip).filter(bool)


@st.composite
def backends(draw: st.DrawFn) -> dict[str, dict[str, str]]:
    """Sections by store id, with the driver as 'driver'."""
    found = {}
    for number, store_id in enumerate(draw(st.lists(IDS, min_size=1, max_size=6, unique=True))):
        driver = draw(st.sampled_from(["file", "rbd", "s3", "http"]))
        options = {
            "file": {"filesystem_store_datadir": f"/srv/{number}/{draw(IDS)}"},
            "rbd": {"rbd_store_pool": draw(PLAIN), "rbd_store_user": draw(PLAIN)},
            "s3": {f"s3_store_{name}": draw(PLAIN) for name in ("host", "access_key", "secret_key", "bucket")},
            "http": {},
        }[driver]
        weight = {"weight": str(draw(st.integers(-5, 5)))} if draw(st.booleans()) else {}
        found[store_id] = {"driver": driver, **options, **weight}
    return found


OURS = {
    "filesystem_store_datadir": "path",
    "rbd_store_pool": "pool",
    "rbd_store_user": "user",
    "s3_store_host": "endpoint",
    "s3_store_access_key": "access_key",
    "s3_store_secret_key": "secret_key",
    "s3_store_bucket": "bucket",
}


@given(backends())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, sections: dict[str, dict[str, str]]) -> None:
    pairs = ", ".join(f"{store_id}:{section['driver']}" for store_id, section in sections.items())
    default = next(reversed(sections))
    text = f"[DEFAULT]\nenabled_backends = {pairs}\n[glance_store]\ndefault_backend = {default}\n"
    for store_id, section in sections.items():
        for name, value in section.items():
            if name != "driver":  # each under a heading of its own: a section may stand more than once
                text += f"[{store_id}]\n{name} = {value}\n"
    (tmp_path / "glance-api.conf").write_text(text)
    found = glance_config.load([tmp_path])
    assert (list(found.stores), found.default_store) == (list(sections), default)
    for store_id, section in sections.items():
        store = found.stores[store_id]
        assert (store.type, store.weight) == (section["driver"], int(section.get("weight", 0)))
        assert {name: store.options[name] for name in OURS.values() if name in store.options} == {
            OURS[name]: value for name, value in section.items() if name in OURS
        }
