"""S3 and Swift over TLS, with an authority of the site's own: trusted where it is named, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from real_servers import S3Bucket, SwiftContainer
from subject import IMAGE, content, put, read_all
from tls_front import TlsFront, make_certificate

from glance_stream.config import StoreConfig
from glance_stream.errors import StoreError
from glance_stream.stores import build
from glance_stream.stores.base import Store

SIZE = 11 << 20  # several parts, several segments


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["s3", "swift"])
def make(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path], radosgw_bucket: S3Bucket, swift_container: SwiftContainer
) -> Iterator[Callable[..., Store]]:
    """A store behind TLS, whom to trust not said yet. Swift's own storage URL is plain, and overridden."""
    if request.param == "s3":
        server = radosgw_bucket.server
        options: dict[str, Any] = {
            "bucket": radosgw_bucket.name,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "region": server.region,
            "addressing_style": "path",
        }
        upstream, path = server.endpoint, ""
    else:
        swift = swift_container.server
        with swift.connection() as connection:
            storage = urlsplit(connection.get_auth()[0])
        upstream, path = f"http://{storage.netloc}", storage.path
        options = {"auth_version": "1", "user": swift.user, "key": swift.key, "container": swift_container.name}
        options |= {"segment_size": 4 << 20}
    with TlsFront(upstream, certificate) as front:
        options["endpoint"] = front.endpoint + path
        if request.param == "swift":
            options["auth_url"] = f"{front.endpoint}/auth/v1.0"

        def made(**more: Any) -> Store:
            return build("far", StoreConfig(type=request.param, retries=0, options={**options, **more}))

        yield made


def test_an_image_goes_there_and_back(make: Callable[..., Store], certificate: tuple[Path, Path]) -> None:
    data = content(SIZE)

    async def scenario() -> None:
        store = make(ca=str(certificate[0]))
        location = await put(store, IMAGE, data)
        assert (await store.stat(location)).size == SIZE
        assert read_all(store.open_reader(location)) == data
        await store.delete(location)
        assert await store.strays() == []
        await store.close()

    run(scenario())


def test_an_authority_that_is_not_named_is_not_trusted(make: Callable[..., Store]) -> None:
    async def scenario() -> None:
        store = make()
        with pytest.raises(StoreError, match="certificate"):
            await store.open_writer(IMAGE, 3)
        await store.close()

    run(scenario())
