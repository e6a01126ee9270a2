"""What a dead writer has left in a bucket, to be gone on with: its upload, and the parts that it sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from glance_stream.stores.s3.client import Bucket, ListedPart, SentPart
from glance_stream.stores.s3.doubt import begun_by

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class LeftUpload:
    """``parts`` by number. Nothing is known of their bytes until `kept_part` has compared them with the stream's."""

    upload_id: str
    parts: Mapping[int, ListedPart]


def find_left(
    bucket: Bucket, key: str, since: int, trace: str, uploads: Mapping[str, str], algorithm: str | None, parts: int
) -> LeftUpload | None:
    """The upload with the most bytes in parts that a writer made at ``since`` has begun, if there is any.

    ``parts``: how many the image has. An upload with more can't be completed without them (radosgw), nor can they be taken back.
    ``algorithm``: of the checksums of the parts to come; an upload that was begun for others does not take them. Raises StoreError.
    """
    found = []
    for upload in begun_by(bucket, key, since, trace, uploads):
        listed = bucket.listed_parts(upload)
        if listed is None or listed.algorithm not in (None, algorithm):
            continue
        if all(part.number <= parts for part in listed.parts):
            found.append(LeftUpload(upload.upload_id, {part.number: part for part in listed.parts}))
    return max(found, key=lambda left: sum(part.size for part in left.parts.values()), default=None)


def kept_part(listed: ListedPart | None, body: memoryview) -> SentPart | None:
    """The part as it is completed with, if the server has just these bytes: its ETag is their MD5.

    Where ETags are no MD5s (SSE-KMS) nothing can be told and every part is sent again.
    """
    etag = listed.etag.strip('"').lower() if listed is not None else ""
    if listed is None or listed.size != len(body) or not _MD5.fullmatch(etag):
        return None
    try:
        found = hashlib.md5(body, usedforsecurity=False).hexdigest()
    except ValueError:  # not even for this, on a strict system (FIPS)
        return None
    return SentPart(listed.number, listed.etag, listed.checksum) if found == etag else None
