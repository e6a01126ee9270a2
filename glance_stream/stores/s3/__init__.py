"""Images in a bucket of an S3 service."""

from glance_stream.stores.s3.store import S3Options, S3Store

__all__ = ["S3Options", "S3Store"]
