"""Images as files in one directory, or in several."""

from glance_stream.stores.file.store import FileOptions, FileStore

__all__ = ["FileOptions", "FileStore"]
