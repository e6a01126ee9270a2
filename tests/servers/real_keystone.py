"""What tests do to a real Keystone, as its administrator."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any


def _call(method: str, url: str, token: str | None, body: Any = None) -> tuple[dict[str, Any], str | None]:
    headers = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response), response.headers.get("X-Subject-Token")


def revoke_tokens(url: str, admin_key: str, user: str) -> None:
    """Every token that the user has: a user who was disabled keeps none."""
    domain = {"domain": {"id": "default"}}
    password = {"user": {"name": "admin", "password": admin_key, **domain}}
    scope = {"project": {"name": "admin", **domain}}
    _, token = _call(
        "POST", f"{url}/auth/tokens", None, {"auth": {"identity": {"methods": ["password"], "password": password}, "scope": scope}}
    )
    found, _ = _call("GET", f"{url}/users?name={user}", token)
    for enabled in (False, True):
        _call("PATCH", f"{url}/users/{found['users'][0]['id']}", token, {"user": {"enabled": enabled}})
    time.sleep(1.1)  # Keystone compares whole seconds: a token given in this one would be refused too
