"""How a Swift store is configured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from glance_stream.config import ByteSize
from glance_stream.errors import InvalidRequest

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[^/\s]+$", max_length=256)]

SEGMENT_SIZE = 200 << 20  # glance_store's swift_store_large_object_chunk_size
MAX_OBJECT_SIZE = 5 << 30  # Swift's max_file_size, where the cluster does not tell its own


class SwiftOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``type = "swift"`` store.

    ``auth_version``: 1 (tempauth, radosgw) or 3 (Keystone). ``user``: with version 3 also ``project:user``, as glance_store has it.
    ``endpoint``: the storage URL, instead of what the authentication names. ``ca``: a file of certificates to trust instead of the
    system's. ``segment_size``: a size such as "200 MiB"; an image that fits into one, and into 8 MiB, is a plain object.
    In seconds: ``connect_timeout``; ``read_timeout`` for silence, and for 1 MiB to be taken.
    ``verify_etag``: compare the MD5 of what was sent with the server's, which costs 1.6 s of processor time for each GB; without it
    only where the storage URL is plain http, since TLS finds what is changed on the way.
    ``reference``: the account's name in locations, ``swift+config://<reference>/...`` (glance_store: default_swift_reference).
    """

    auth_url: str
    auth_version: Literal["1", "3", 1, 3] = "3"
    user: str | None = None
    key: str | None = None
    project: str | None = None
    project_id: str | None = None
    user_domain: str | None = None
    user_domain_id: str | None = None
    project_domain: str | None = None
    project_domain_id: str | None = None
    application_credential_id: str | None = None
    application_credential_secret: str | None = None
    region: str | None = None
    endpoint_type: str = "publicURL"
    service_type: str = "object-store"
    endpoint: str | None = None
    container: Name = "glance"
    create_container: bool = False
    segment_size: ByteSize = ByteSize(SEGMENT_SIZE)
    ca: str | None = None
    insecure: bool = False
    connect_timeout: Seconds = 10.0
    read_timeout: Seconds = 60.0
    verify_etag: bool | None = None
    reference: Name = "ref1"

    def __post_init__(self) -> None:
        if not 1 <= self.segment_size <= MAX_OBJECT_SIZE:
            raise ValueError(f"segment_size: write at most 5 GiB, not {self.segment_size}")

    def __repr__(self) -> str:
        return f"SwiftOptions(auth_url={self.auth_url!r}, container={self.container!r}, ...)"  # some of the rest are secrets

    @property
    def account_user(self) -> str | None:
        """The user as glance_store writes it: with Keystone ``project:user``."""
        if self.uses_application_credential:
            return None
        if self.user is None or self.project is None or self.version == "1" or ":" in self.user:
            return self.user
        return f"{self.project}:{self.user}"

    @property
    def version(self) -> str:
        return str(self.auth_version)

    @property
    def uses_application_credential(self) -> bool:
        return self.application_credential_id is not None

    def check(self, store_id: str) -> None:
        """Raises InvalidRequest for what does not fit together."""
        if (self.application_credential_id is None) != (self.application_credential_secret is None):
            raise InvalidRequest(f"store {store_id!r}: an application credential has an id and a secret")
        if self.uses_application_credential and self.version == "1":
            raise InvalidRequest(f"store {store_id!r}: application credentials need auth_version 3")
        if not self.uses_application_credential and (self.user is None or self.key is None):
            raise InvalidRequest(f"store {store_id!r}: user and key, or an application credential, are needed")
        if "@" in self.auth_url:
            raise InvalidRequest(f"store {store_id!r}: credentials do not belong in auth_url")
