"""Any driver of an installed glance_store as a store."""

from glance_stream.stores.glance_store.store import GlanceStoreOptions, GlanceStoreStore

__all__ = ["GlanceStoreOptions", "GlanceStoreStore"]
