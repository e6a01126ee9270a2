"""What a writer may have left in a bucket, as far as its trace tells: uploads, and an object whose commit nobody saw end.

An object bears its writer's nonce. When there is none that does, the question is whether one may still come of a request that was
sent and never answered. Not of a completion once the upload is gone. Of a PUT, which makes an image of up to `WHOLE` bytes, for a
while: a writer signs none later than `PUT_WITHIN` after it was made, no server takes a signature that is older than 15 minutes,
and so from `SETTLED` on, by the server's own clock, none can come.
"""

from __future__ import annotations

from collections.abc import Mapping

from glance_stream.errors import StoreError
from glance_stream.stores.s3.client import Bucket, Upload
from glance_stream.stores.s3.names import Trace

WHOLE = 8 << 20  # bytes of the largest image that is one PUT: it is in memory until its commit, and sent within minutes

# Servers refuse a request signed by a clock more than 15 minutes off theirs (RequestTimeTooSkewed): that bounds the difference.
CLOCK_SKEW = 900

# In seconds since the writer was made. In between: 4 minutes of repetitions, a signature's 15 minutes, and as long for a server to
# end what it has begun.
PUT_WITHIN = 1500
SETTLED = 3600


def begun_by(bucket: Bucket, key: str, since: int, trace: str, uploads: Mapping[str, str]) -> list[Upload]:
    """The key's uploads that a writer made at ``since`` may have begun, and that are not known to be another writer's."""
    return [
        upload
        for upload in bucket.uploads(key)
        if upload.begun >= since - CLOCK_SKEW and uploads.get(upload.upload_id, trace) == trace
    ]


def remove_uploads(bucket: Bucket, key: str, since: int, trace: str, uploads: Mapping[str, str]) -> None:
    for upload in begun_by(bucket, key, since, trace, uploads):
        bucket.remove_upload(key, upload.upload_id)


def has_published(store_id: str, bucket: Bucket, trace: str, found: Trace, uploads: Mapping[str, str]) -> bool:
    """Whether the object under the key is this writer's. Raises StoreError where it can't be told now."""
    if found.writer is None:
        raise StoreError(store_id, "the trace names an upload and not its writer: its objects can't be told")
    left = begun_by(bucket, found.key, found.since, trace, uploads)
    if is_there(bucket, found.key, found.writer):
        return True
    if left:
        raise StoreError(store_id, f"an upload of {found.key} is still there: it may be completed until it is discarded")
    require_settled(store_id, bucket, found.key, found.since)
    return False


def is_there(bucket: Bucket, key: str, writer: str) -> bool:
    """Whether what is under the key bears this writer's nonce. Raises StoreError, also if there is no bucket."""
    found = bucket.head(key)
    if found is None:
        bucket.require()
    return found is not None and found.writer == writer


def require_settled(store_id: str, bucket: Bucket, key: str, since: int) -> None:
    """Raises StoreError as long as a PUT of a writer made at ``since`` may still take effect."""
    left = since + SETTLED - bucket.now()
    if left > 0:
        raise StoreError(store_id, f"{key} may still come of a request without an answer, for {-(-left // 60):.0f} minutes")
