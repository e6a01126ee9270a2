"""Images in a container of OpenStack Swift, or of another server with its API."""

from glance_stream.stores.swift.options import SwiftOptions
from glance_stream.stores.swift.store import SwiftStore

__all__ = ["SwiftOptions", "SwiftStore"]
