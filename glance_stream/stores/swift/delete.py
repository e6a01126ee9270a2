"""Deleting an image with all that it is made of, whoever wrote it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from glance_stream.errors import NotFound, StoreError
from glance_stream.stores.swift.client import Session, SwiftClient
from glance_stream.stores.swift.connection import Reply


def delete(client: SwiftClient, image_id: str) -> None:
    """Raises NotFound, StoreError."""
    with client.session() as session:
        found = session.head(image_id)
        if found is None:
            raise session.missing(image_id)
        if found.headers.get("x-static-large-object", "").lower() == "true":
            session.delete_with_segments(image_id)
        elif "x-object-manifest" in found.headers:
            _delete_dynamic(client, session, image_id, found)
        elif not session.delete(image_id):
            raise NotFound(client.store_id, f"{client.container}/{image_id} is gone already")


def _delete_dynamic(client: SwiftClient, session: Session, image_id: str, found: Reply) -> None:
    """Segments first: what is left after a break can then be deleted again.

    Only what glance_store names as it does is deleted: a manifest is a prefix that anybody may have set, to all of a container too.
    """
    if unquote(found.headers["x-object-manifest"]).strip("/") != f"{client.container}/{image_id}-":
        raise StoreError(client.store_id, f"{client.container}/{image_id} has segments that glance_store has not written")
    segment = re.compile(rf"{re.escape(image_id)}-[0-9]{{5,}}")
    names = [each["name"] for _, each in session.list(f"{image_id}-")]
    for name in filter(segment.fullmatch, names):
        session.delete(name)
    session.delete(image_id)
