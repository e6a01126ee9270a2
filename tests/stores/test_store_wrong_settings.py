"""What an operator has got wrong about a store's server, and that the error says what to look at."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults.loop import run
from real_servers import S3Bucket, SwiftContainer
from subject import IMAGE

from glance_stream.config import StoreConfig
from glance_stream.errors import StoreDenied, StoreError, StoreUnavailable
from glance_stream.stores import build


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Nobody listens there, nor can anybody else begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def s3(s3_bucket: S3Bucket) -> dict[str, Any]:
    server = s3_bucket.server
    return {
        "bucket": s3_bucket.name,
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": server.region,
        "addressing_style": "path",
    }


@pytest.fixture
def swift(swift_container: SwiftContainer) -> dict[str, Any]:
    server = swift_container.server
    return {
        "auth_version": "1",
        "auth_url": server.auth_url,
        "user": server.user,
        "key": server.key,
        "container": swift_container.name,
    }


def refused(kind: str, options: dict[str, Any], **wrong: Any) -> StoreError:
    async def scenario() -> StoreError:
        store = build("far", StoreConfig(type=kind, retries=0, options={**options, **wrong}))
        try:
            with pytest.raises(StoreError) as caught:
                await store.open_writer(IMAGE, 3)
        finally:
            await store.close()
        return caught.value

    return run(scenario())


def host(url: str) -> str:
    return urlsplit(url).netloc


def test_s3_https_where_the_server_speaks_http(s3: dict[str, Any]) -> None:
    error = refused("s3", s3, endpoint=s3["endpoint"].replace("http://", "https://"))
    assert f"{host(s3['endpoint'])} does not answer in TLS: if it speaks plain http, write http://" in str(error)
    assert not error.retryable


def test_swift_https_where_the_server_speaks_http(swift: dict[str, Any]) -> None:
    error = refused("swift", swift, auth_url=swift["auth_url"].replace("http://", "https://"))
    assert f"{host(swift['auth_url'])} does not answer in TLS: if it speaks plain http, write http://" in str(error)
    assert not error.retryable


def test_s3_nobody_listens(s3: dict[str, Any], closed_port: int) -> None:
    error = refused("s3", s3, endpoint=f"http://127.0.0.1:{closed_port}")
    assert f"no connection to 127.0.0.1:{closed_port}: Connection refused" in str(error)
    assert isinstance(error, StoreUnavailable)


def test_swift_nobody_listens(swift: dict[str, Any], closed_port: int) -> None:
    error = refused("swift", swift, auth_url=f"http://127.0.0.1:{closed_port}/auth/v1.0")
    assert f"127.0.0.1:{closed_port}: Connection refused" in str(error)
    assert isinstance(error, StoreUnavailable)


def test_s3_a_host_that_does_not_exist(s3: dict[str, Any]) -> None:
    error = refused("s3", s3, endpoint="http://no-such-host.invalid")
    assert "no connection to no-such-host.invalid: " in str(error)


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_s3_wrong_credentials(s3: dict[str, Any], wrong: str) -> None:
    """The bucket is asked with HEAD, whose answer has no code."""
    error = refused("s3", s3, **{wrong: "0123456789abcdef"})
    assert isinstance(error, StoreDenied)
    assert "access_key" in str(error)
    assert "0123456789abcdef" not in str(error)
    assert s3["secret_key"] not in str(error)


def test_swift_wrong_key(swift: dict[str, Any]) -> None:
    error = refused("swift", swift, key="wrong")
    assert isinstance(error, StoreDenied)
    assert "refuses the user or the key" in str(error)


def test_s3_no_such_bucket(s3: dict[str, Any]) -> None:
    error = refused("s3", s3, bucket="no-such-bucket")
    assert "no-such-bucket: create the bucket, correct its name, or set create_bucket = true" in str(error)


def test_swift_no_such_container(swift: dict[str, Any]) -> None:
    error = refused("swift", swift, container="no-such-container")
    assert "no-such-container is not there: create the container, correct its name, or set create_container = true" in str(error)
