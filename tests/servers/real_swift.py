"""A real Swift server as tests see it: what they ask here, python-swiftclient answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from real_keystone import revoke_tokens
from server_daemons import ServerHandle


def _objects(swift: Any, container: str) -> dict[str, int]:
    return {each["name"]: each["bytes"] for each in swift.get_container(container, full_listing=True)[1]}


@dataclass(frozen=True)
class SwiftServer:
    auth_url: str
    user: str
    key: str
    auth_version: str
    daemons: Mapping[str, ServerHandle]
    # Keystone's only.
    project: str | None = None
    user_domain: str | None = None
    project_domain: str | None = None
    region: str | None = None
    admin_key: str | None = None
    memcached: int | None = None

    @contextmanager
    def connection(self, **keywords: Any) -> Iterator[Any]:
        """A python-swiftclient connection that tries each request once."""
        from swiftclient import Connection

        with ExitStack() as stack:
            options: dict[str, Any] = {
                "authurl": self.auth_url,
                "user": self.user,
                "key": self.key,
                "auth_version": self.auth_version,
            }
            if self.auth_version == "3":
                options["session"] = self._keystone(stack)  # without one, swiftclient calls what Keystone's client deprecates
                options["os_options"] = {"region_name": self.region}
            yield stack.enter_context(closing(Connection(**{**options, "retries": 0, **keywords})))

    def _keystone(self, stack: ExitStack) -> Any:
        import requests
        from keystoneauth1.identity.v3 import Password
        from keystoneauth1.session import Session

        who = Password(
            self.auth_url,
            username=self.user,
            password=self.key,
            project_name=self.project,
            user_domain_name=self.user_domain,
            project_domain_name=self.project_domain,
        )
        return Session(auth=who, session=stack.enter_context(requests.Session()))

    def make_container(self, name: str, headers: Mapping[str, str] | None = None) -> None:
        with self.connection() as swift:
            swift.put_container(name, headers=dict(headers or {}))

    def containers(self, prefix: str = "") -> list[str]:
        with self.connection() as swift:
            return [each["name"] for each in swift.get_account(prefix=prefix, full_listing=True)[1]]

    def objects(self, container: str) -> dict[str, int]:
        """Names and sizes."""
        with self.connection() as swift:
            return _objects(swift, container)

    def read(self, container: str, name: str) -> bytes:
        with self.connection() as swift:
            return bytes(swift.get_object(container, name)[1])

    def headers(self, container: str, name: str) -> dict[str, str]:
        with self.connection() as swift:
            return dict(swift.head_object(container, name))

    def write(self, container: str, name: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        with self.connection() as swift:
            swift.put_object(container, name, content, headers=dict(headers or {}))

    def delete(self, container: str, name: str) -> None:
        with self.connection() as swift:
            swift.delete_object(container, name)

    def empty_container(self, name: str) -> None:
        from swiftclient import ClientException

        with self.connection() as swift:
            for each in _objects(swift, name):
                try:
                    swift.delete_object(name, each)
                except ClientException as refused:
                    if refused.http_status != 404:  # deleted before this container heard of it
                        raise

    def delete_container(self, name: str) -> None:
        with self.connection() as swift:
            swift.delete_container(name)

    def expire_tokens(self) -> None:
        """The next request with a token that was given until now is answered with 401. OpenStack Swift only."""
        assert self.memcached is not None  # where tempauth keeps its tokens, and authtoken what Keystone said of them
        if self.admin_key is not None:
            revoke_tokens(self.auth_url, self.admin_key, self.user)
        with socket.create_connection(("127.0.0.1", self.memcached), timeout=5) as peer:
            peer.sendall(b"flush_all\r\n")
            assert peer.recv(16) == b"OK\r\n"


@dataclass(frozen=True)
class SwiftContainer:
    """A test's own container; those whose names begin with this one's name (segments) are the test's too."""

    server: SwiftServer
    name: str

    def objects(self) -> dict[str, int]:
        return self.server.objects(self.name)

    def read(self, name: str) -> bytes:
        return self.server.read(self.name, name)

    def headers(self, name: str) -> dict[str, str]:
        return self.server.headers(self.name, name)

    def write(self, name: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.server.write(self.name, name, content, headers)

    def delete(self, name: str) -> None:
        self.server.delete(self.name, name)
