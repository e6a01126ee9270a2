"""Images in a pool of a Ceph cluster."""

from glance_stream.stores.rbd.options import RbdOptions
from glance_stream.stores.rbd.store import RbdStore

__all__ = ["RbdOptions", "RbdStore"]
