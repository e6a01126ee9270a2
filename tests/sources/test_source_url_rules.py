"""Import filters: what Glance lets pass and what it does not."""

from __future__ import annotations

import pytest

from glance_stream.config import ImportFilters
from glance_stream.sources.url_rules import allows

DEFAULT = ImportFilters()
HOSTS = ImportFilters(disallowed_hosts=("127.0.0.1", "169.254.169.254", "metadata.internal"))
LIST = ImportFilters(
    allowed_hosts=("mirror.example",), disallowed_hosts=("mirror.example",), allowed_ports=(), disallowed_ports=(22,)
)


@pytest.mark.parametrize(
    ("rules", "url", "passes"),
    [
        (DEFAULT, "http://any.example/x", True),
        (DEFAULT, "HTTPS://any.example:443/x", True),
        (DEFAULT, "http://any.example:443/x", True),  # as in Glance: ports are not those of a scheme
        (DEFAULT, "http://any.example:8080/x", False),
        (DEFAULT, "ftp://any.example/x", False),
        (DEFAULT, "//any.example/x", False),
        (DEFAULT, "http:///x", False),
        (DEFAULT, "http://any.example:99999/x", False),
        (DEFAULT, "http://[::1/x", False),
        (ImportFilters(allowed_schemes=("https",)), "http://any.example/", False),
        (ImportFilters(allowed_schemes=(), disallowed_schemes=("http",)), "http://any.example/", False),
        (ImportFilters(allowed_schemes=(), disallowed_schemes=("http",)), "https://any.example/", True),
        (HOSTS, "http://metadata.internal/latest", False),
        (HOSTS, "http://Metadata.Internal./latest", False),
        (HOSTS, "http://user:pw@169.254.169.254/", False),
        (HOSTS, "http://[::ffff:169.254.169.254]/", False),
        (HOSTS, "http://[::ffff:7f00:1]/", False),
        (HOSTS, "http://2130706433/", False),
        (HOSTS, "http://0x7f.0.0.1/", False),
        (HOSTS, "http://0177.0.0.1/", False),
        (HOSTS, "http://127.1/", False),
        (HOSTS, "http://192.0.2.1/", True),
        (HOSTS, "http://[2001:db8::1]/", True),
        (DEFAULT, "http://2130706433/", False),
        (LIST, "http://mirror.example:8080/", True),
        (LIST, "http://mirror.example:22/", False),
        (LIST, "http://other.example/", False),
    ],
)
def test_which_urls_pass(rules: ImportFilters, url: str, passes: bool) -> None:
    assert allows(rules, url) is passes
