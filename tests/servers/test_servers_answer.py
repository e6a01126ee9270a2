"""Each real server does what its fixture says, asked by its own client; and comes back after a fault."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace

import pytest
from real_servers import CephCluster, RbdPool, S3Bucket, SwiftContainer, SwiftServer

CONTENT = bytes(range(256)) * 4096


def test_s3_put_get_delete(s3_bucket: S3Bucket) -> None:
    s3_bucket.write("image", CONTENT)
    assert s3_bucket.objects() == {"image": len(CONTENT)}
    assert s3_bucket.read("image") == CONTENT
    s3_bucket.delete("image")
    assert s3_bucket.objects() == {}


def test_s3_wrong_key_is_refused(s3_bucket: S3Bucket) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied|Forbidden"):
        replace(s3_bucket.server, secret_key="wrong").objects(s3_bucket.name)


def test_s3_lists_an_unfinished_upload(s3_bucket: S3Bucket) -> None:
    with s3_bucket.server.client() as s3:
        upload = s3.create_multipart_upload(Bucket=s3_bucket.name, Key="image")["UploadId"]
        s3.upload_part(Bucket=s3_bucket.name, Key="image", UploadId=upload, PartNumber=1, Body=CONTENT)
    assert s3_bucket.uploads() == [("image", upload)]
    assert s3_bucket.objects() == {}  # the fixture removes the bucket with the upload in it


def test_swift_put_get_delete(container: SwiftContainer) -> None:
    container.write("image", CONTENT)
    assert container.objects() == {"image": len(CONTENT)}
    assert container.read("image") == CONTENT
    container.delete("image")
    assert container.objects() == {}


def test_swift_wrong_key_is_refused(swift_server: SwiftServer) -> None:
    from keystoneauth1.exceptions import Unauthorized
    from swiftclient import ClientException

    with pytest.raises((ClientException, Unauthorized), match=r"401|403|[Uu]nauthorized"):
        replace(swift_server, key="wrong").containers()


def test_swift_container_quota(swift_container: SwiftContainer) -> None:
    from swiftclient import ClientException

    with swift_container.server.connection() as swift:
        swift.post_container(swift_container.name, {"X-Container-Meta-Quota-Bytes": "1000"})
    with pytest.raises(ClientException, match="413"):
        swift_container.write("image", CONTENT)


@pytest.mark.parametrize("fixture", ["swift", "swift_v3"])
def test_swift_forgets_its_tokens(request: pytest.FixtureRequest, fixture: str) -> None:
    swift: SwiftServer = request.getfixturevalue(fixture)
    with swift.connection() as connection:
        connection.get_account()
        token = connection.token
        swift.expire_tokens()
        connection.get_account()  # this client asks for another token by itself
        assert connection.token != token


@pytest.mark.parametrize("daemon", ["account", "container", "object", "proxy"])
def test_swift_restarts(swift_container: SwiftContainer, daemon: str) -> None:
    swift_container.write("image", CONTENT)
    handle = swift_container.server.daemons[daemon]
    with handle.killed():
        assert not handle.alive()
    assert swift_container.read("image") == CONTENT


@pytest.mark.parametrize("daemon", ["keystone", "proxy"])
def test_swift_v3_restarts(swift_v3_container: SwiftContainer, daemon: str) -> None:
    swift_v3_container.write("image", CONTENT)
    swift_v3_container.server.daemons[daemon].restart()
    assert swift_v3_container.read("image") == CONTENT


def test_radosgw_restarts(radosgw_bucket: S3Bucket) -> None:
    radosgw_bucket.write("image", CONTENT)
    radosgw_bucket.server.daemons["radosgw"].restart()
    assert radosgw_bucket.read("image") == CONTENT


def rbd_image(pool: RbdPool, content: bytes = CONTENT) -> None:
    subprocess.run(
        ["rbd", "-c", pool.cluster.conf, "import", "--no-progress", "-", f"{pool.name}/image"],
        input=content,
        check=True,
        timeout=60,
    )


def test_rbd_put_get_delete(rbd_pool: RbdPool) -> None:
    rbd_image(rbd_pool)
    assert rbd_pool.images() == ["image"]
    assert rbd_pool.read("image") == CONTENT
    rbd_pool.cluster.rbd("snap", "create", f"{rbd_pool.name}/image@snap")
    rbd_pool.cluster.rbd("snap", "protect", f"{rbd_pool.name}/image@snap")
    assert [(each["name"], each["protected"]) for each in rbd_pool.snapshots("image")] == [("snap", "true")]
    rbd_pool.cluster.rbd("snap", "unprotect", f"{rbd_pool.name}/image@snap")
    rbd_pool.cluster.rbd("snap", "purge", "--no-progress", f"{rbd_pool.name}/image")
    rbd_pool.cluster.rbd("rm", "--no-progress", f"{rbd_pool.name}/image")
    assert rbd_pool.images() == []


def as_user(cluster: CephCluster, user: str, keyring: object, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["rbd", "-c", str(cluster.conf), "--id", user, "--keyring", str(keyring), *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_rbd_users(rbd_pool: RbdPool) -> None:
    ceph = rbd_pool.cluster
    create = ("create", "--size", "1M", f"{rbd_pool.name}/image")
    assert as_user(ceph, "glance", ceph.reader_keyring, "ls", rbd_pool.name).returncode != 0  # it has the key of another
    assert as_user(ceph, "reader", ceph.reader_keyring, *create).returncode != 0
    assert as_user(ceph, ceph.user, ceph.keyring, *create).returncode == 0
    assert as_user(ceph, "reader", ceph.reader_keyring, "ls", rbd_pool.name).stdout == b"image\n"


def test_rbd_pool_quota(rbd_pool: RbdPool) -> None:
    rbd_pool.cluster.set_quota(rbd_pool.name, 1 << 19)
    rbd_image(rbd_pool)
    rbd_pool.cluster.wait_full(rbd_pool.name)
    create = ("create", "--size", "1M", f"{rbd_pool.name}/more")
    refused = as_user(rbd_pool.cluster, "glance", rbd_pool.cluster.keyring, "--rados-osd-op-timeout", "2", *create)
    assert b"(110)" in refused.stderr  # ETIMEDOUT: Ceph lets a writer wait until there is room
    rbd_pool.cluster.set_quota(rbd_pool.name, 0)
    rbd_pool.cluster.wait_full(rbd_pool.name, False)
    rbd_pool.cluster.rbd(*create)


def test_a_paused_osd_answers_again(rbd_pool: RbdPool) -> None:
    rbd_image(rbd_pool)
    osd = rbd_pool.cluster.daemons["osd"]
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(rbd_pool.read("image")))
    with osd.paused():
        reader.start()
        reader.join(1)
        assert answers == []
    reader.join(30)
    assert answers == [CONTENT]


def test_a_killed_osd_keeps_its_data(rbd_pool: RbdPool) -> None:
    if rbd_pool.cluster.objectstore == "memstore":
        pytest.xfail("memstore's data is gone with its process")
    rbd_image(rbd_pool)
    rbd_pool.cluster.daemons["osd"].restart()
    assert rbd_pool.read("image") == CONTENT
