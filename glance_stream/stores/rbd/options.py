"""The options of a ``type = "rbd"`` store."""

from __future__ import annotations

from typing import Annotated

import msgspec

from glance_stream.config import ByteSize

MIB = 1 << 20
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class RbdOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the images are and how they are written. Times in seconds.

    pool: glance_store's ``rbd_store_pool``.
    user: the cephx user without ``client.`` (``rbd_store_user``); by default admin, as librados has it.
    ceph_conf: path (``rbd_store_ceph_conf``); by default where librados looks. It says where the user's keyring is.
    fsid: of the cluster; by default as ``ceph_conf`` or the cluster itself says. A store that reaches another one refuses it.
    object_size: of the RADOS objects that an image is cut into (``rbd_store_chunk_size``, in MiB there), a size such as "8 MiB".
        A power of two, 4 KiB to 32 MiB, as librbd has it.
    writes_in_flight: writes sent and not yet answered, each of one object or one slot at most: the writer's memory.
    thin: leave zeros out, also when an import does not ask for it (``rbd_thin_provisioning``).
    connect_timeout: for a connection to be made (``rados_connect_timeout``).
    op_timeout: for one operation of the cluster. More than the half minute that a cluster takes to go on without a dead osd.
    """

    pool: Annotated[str, msgspec.Meta(min_length=1)] = "images"
    user: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    ceph_conf: str | None = None
    fsid: str | None = None
    object_size: ByteSize = ByteSize(8 * MIB)
    writes_in_flight: Annotated[int, msgspec.Meta(ge=1, le=128)] = 8
    thin: bool = False
    connect_timeout: Seconds = 20.0
    op_timeout: Seconds = 60.0

    def __post_init__(self) -> None:
        if not 4096 <= self.object_size <= 32 * MIB or self.object_size & (self.object_size - 1):
            raise ValueError(f"object_size: write a power of two from 4 KiB to 32 MiB, not {self.object_size}")

    @property
    def order(self) -> int:
        """log2 of the object size."""
        return self.object_size.bit_length() - 1
