"""Stores as Glance's own files name them, on real servers: each opens, writes, reads back and deletes, and nothing stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

from real_servers import RbdPool, S3Bucket, SwiftContainer

from glance_stream import glance_config
from glance_stream.config import Config
from glance_stream.importing.check import StoreCheck, open_all, try_out
from glance_stream.model import Location
from glance_stream.stores import Stores
from glance_stream.stores.base import Store
from glance_stream.transfer import Limits

SIZE = 3 << 20
IMAGE = "8c7dd922-ad47-4cfc-a91f-84e4e9e8a3a1"


def write(directory: Path, sections: dict[str, tuple[str, str]]) -> Config:
    """A glance-api.conf of these sections by store id: driver and options."""
    pairs = ", ".join(f"{store_id}:{driver}" for store_id, (driver, _) in sections.items())
    text = f"[DEFAULT]\nenabled_backends = {pairs}\n[glance_store]\ndefault_backend = {next(iter(sections))}\n"
    (directory / "glance-api.conf").write_text(text + "".join(f"[{name}]\n{options}\n" for name, (_, options) in sections.items()))
    return glance_config.load([directory])


def tried(config: Config) -> list[StoreCheck]:
    async def scenario() -> list[StoreCheck]:
        stores = Stores(config.stores, transfer=config.transfer)
        checks = [StoreCheck(stores[store_id]) for store_id in config.stores]
        try:
            await open_all(checks)
            for check in checks:
                if check.error is None:
                    await try_out(check, SIZE, Limits())
        finally:
            await stores.close()
        return checks

    return asyncio.run(scenario())


def assert_good(checks: list[StoreCheck]) -> None:
    assert {check.store.store_id: str(check.error) for check in checks if check.error is not None} == {}
    for check in checks:
        assert (check.size, check.leftovers) == (SIZE, [])
        assert check.latency is not None
        assert check.read_seconds is not None


def ceph_section(pool: RbdPool, *more: str) -> tuple[str, str]:
    cluster = pool.cluster
    lines = (f"rbd_store_ceph_conf = {cluster.conf}", f"rbd_store_user = {cluster.user}", f"rbd_store_pool = {pool.name}", *more)
    return "rbd", "\n".join(lines)


def test_ceph(rbd_pool: RbdPool, tmp_path: Path) -> None:
    config = write(tmp_path, {"ceph": ceph_section(rbd_pool), "small": ceph_section(rbd_pool, "rbd_store_chunk_size = 1")})
    assert_good(tried(config))
    assert rbd_pool.images() == []


def test_a_thin_store_leaves_zeros_out_though_the_import_does_not_ask(rbd_pool: RbdPool, tmp_path: Path) -> None:
    config = write(tmp_path, {"ceph": ceph_section(rbd_pool, "rbd_thin_provisioning = true", "rbd_store_chunk_size = 1")})
    data = b"x" * 4096 + bytes(SIZE)

    async def put(store: Store) -> Location:
        writer = await store.open_writer(IMAGE, len(data))
        writer.write(memoryview(data))
        await writer.flush(len(data))
        location = await writer.commit(len(data), {})
        await store.close()
        return location

    asyncio.run(put(Stores(config.stores)["ceph"]))
    assert rbd_pool.read(IMAGE) == data
    assert rbd_pool.cluster.used(rbd_pool.name, IMAGE) < SIZE


def test_s3(radosgw_bucket: S3Bucket, tmp_path: Path) -> None:
    server = radosgw_bucket.server
    options = (
        f"s3_store_host = {server.endpoint}\ns3_store_access_key = {server.access_key}\ns3_store_secret_key = {server.secret_key}\n"
        f"s3_store_bucket = {radosgw_bucket.name}\ns3_store_bucket_url_format = path\n"
    )
    assert_good(
        tried(write(tmp_path, {"objects": ("s3", options), "small": ("s3", options + "s3_store_large_object_chunk_size = 5\n")}))
    )
    assert (radosgw_bucket.objects(), radosgw_bucket.uploads()) == ({}, [])


def test_swift_by_a_reference(swift_v3_container: SwiftContainer, tmp_path: Path) -> None:
    server = swift_v3_container.server
    (tmp_path / "swift.conf").write_text(
        f"[ref9]\nauth_address = {server.auth_url}\nuser = {server.project}:{server.user}\nkey = '{server.key}'\n"
        f"user_domain_name = {server.user_domain}\nproject_domain_name = {server.project_domain}\n"
    )
    options = (
        f"swift_store_config_file = {tmp_path}/swift.conf\ndefault_swift_reference = ref9\n"
        f"swift_store_container = {swift_v3_container.name}\nswift_store_region = {server.region}\n"
    )
    assert_good(tried(write(tmp_path, {"archive": ("swift", options)})))
    assert server.objects(swift_v3_container.name) == {}


def test_swift_by_its_own_section(swift_container: SwiftContainer, tmp_path: Path) -> None:
    server = swift_container.server
    options = (
        f"swift_store_auth_address = {server.auth_url}\nswift_store_auth_version = 1\nswift_store_user = {server.user}\n"
        f"swift_store_key = {server.key}\nswift_store_container = {swift_container.name}\nswift_store_large_object_chunk_size = 1\n"
    )
    assert_good(tried(write(tmp_path, {"archive": ("swift", options)})))
    assert server.objects(swift_container.name) == {}


def test_files_in_one_directory_and_in_several(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        {
            "near": ("file", f"filesystem_store_datadir = {tmp_path}/near"),
            "many": ("file", f"filesystem_store_datadirs = {tmp_path}/one:2\nfilesystem_store_datadirs = {tmp_path}/two:1"),
        },
    )
    assert_good(tried(config))
    assert [path for name in ("near", "one", "two") for path in (tmp_path / name).iterdir()] == []
