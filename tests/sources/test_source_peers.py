"""Which machines are connected to: private and encoded addresses, names that change what they stand for, redirects."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from bad_server import answer, read_all, serve

from glance_stream.config import ImportFilters
from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.model import Location
from glance_stream.sources.http_peers import peers, refusal
from glance_stream.sources.url_rules import allows, peers_of
from glance_stream.stores.http import HttpStore

CONTENT = bytes(range(256)) * 100
LINK_LOCAL = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "2002:a9fe:a9fe::1",  # 6to4
    "64:ff9b::a9fe:a9fe",  # NAT64
    "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo of 169.254.169.254
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
]
INNER = [
    "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "::1", "fd12::1", "100.64.0.1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]  # fmt: skip
OUTER = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]

Resolver = Callable[..., dict[str, int]]

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("text", [*LINK_LOCAL, *INNER, *OUTER])
def test_which_addresses_pass(text: str) -> None:
    passes = {addresses: refusal(addresses, ip_address(text)) is None for addresses in ("any", "private", "public")}
    assert passes == {"any": True, "private": text not in LINK_LOCAL, "public": text in OUTER}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Names that stand for other addresses each time they are asked for, the last ones for good; how often they were asked."""
    real = socket.getaddrinfo

    def script(**answers: list[list[str]]) -> dict[str, int]:
        asked = dict.fromkeys((f"{name}.test" for name in answers), 0)

        def resolve(host: str, port: int, *rest: Any, **more: Any) -> Any:
            if host not in asked:
                return real(host, port, *rest, **more)
            turns = answers[host.removesuffix(".test")]
            found = turns[min(asked[host], len(turns) - 1)]
            asked[host] += 1
            return [one for text in found for one in real(text, port, *rest, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return script  # type: ignore[return-value]


def named(url: str, name: str) -> str:
    return url.replace("127.0.0.1", f"{name}.test")


WIDE = {ord(digit): 0xFEE0 + ord(digit) for digit in "0123456789"}  # fullwidth forms, which IDNA takes for digits
DISGUISES = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.254.0xa9.254",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "169.254.169.254".translate(WIDE),
    "169.254.169.254".replace(".", "\u3002"),
    "allowed.example@169.254.169.254",
    "allowed.example\\@169.254.169.254",
]


@pytest.mark.parametrize("host", DISGUISES)
def test_an_address_in_disguise_is_no_way_to_the_credentials(source: Any, host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"local to the link|names no valid host"):
        source(f"http://{host}/latest/meta-data/").open()


def test_a_redirect_to_the_credentials(server: Any, source: Any) -> None:
    web = server(answer(302, Location="http://169.254.169.254/latest"))
    with pytest.raises(SourceError, match=r"redirected, but 169\.254\.169\.254 is an address local to the link") as caught:
        source(web.url).open()
    assert not caught.value.retryable
    assert len(web.requests) == 1


def test_a_name_is_resolved_once_for_a_connection_and_keeps_its_name(server: Any, source: Any, names: Resolver) -> None:
    asked = names(mirror=[["127.0.0.1"], ["169.254.169.254"]])
    web = server(serve(CONTENT))
    image = source(named(web.url, "mirror"))
    image.open()
    assert read_all(image) == CONTENT
    assert asked == {"mirror.test": 1}
    assert web.requests[0].headers["host"] == f"mirror.test:{web.port}"


def test_a_name_that_changes_while_an_image_is_read(server: Any, source: Any, names: Resolver) -> None:
    """The connection breaks; what the name stands for now is checked like what it stood for then."""
    asked = names(mirror=[["127.0.0.1"], ["169.254.169.254"]])
    web = server(serve(CONTENT, stop=1000))
    image = source(named(web.url, "mirror"))
    image.open()
    with pytest.raises(SourceError, match=r"mirror\.test is 169\.254\.169\.254"):
        read_all(image)
    assert asked == {"mirror.test": 2}
    assert len(web.requests) == 1


def test_a_name_that_changes_between_two_opens(server: Any, source: Any, names: Resolver) -> None:
    names(mirror=[["127.0.0.1"], ["169.254.169.254"]])
    web = server(serve(CONTENT))
    image = source(named(web.url, "mirror"))
    image.open()
    with pytest.raises(SourceError, match=r"169\.254\.169\.254"):
        image.reopen(1000)


def test_one_bad_address_among_good_ones(server: Any, source: Any, names: Resolver) -> None:
    names(mirror=[["127.0.0.1", "169.254.169.254"]])
    web = server(serve(CONTENT))
    with pytest.raises(InvalidRequest, match="local to the link"):
        source(named(web.url, "mirror")).open()
    assert not web.requests


def test_the_next_address_is_tried_when_one_does_not_answer(server: Any, source: Any, names: Resolver) -> None:
    names(mirror=[["127.0.0.2", "127.0.0.1"]])
    web = server(serve(CONTENT))
    image = source(named(web.url, "mirror"))
    image.open()
    assert read_all(image) == CONTENT


def test_a_name_that_does_not_exist(source: Any) -> None:
    for url in ("http://nowhere.invalid/", f"http://{'a' * 64}.example/"):
        with pytest.raises((SourceError, InvalidRequest)):
            source(url).open()


def test_only_public_addresses(server: Any, source: Any) -> None:
    web = server(serve(CONTENT))
    with pytest.raises(InvalidRequest, match="private network or of this machine"):
        source(web.url, allowed=peers("public")).open()
    assert not web.requests


def test_the_deny_list_counts_for_what_a_name_stands_for(server: Any, source: Any, names: Resolver) -> None:
    """Glance compares names; a name of one's own for 127.0.0.1 goes round that."""
    names(mirror=[["127.0.0.1"]])
    web = server(serve(CONTENT))
    rules = ImportFilters(disallowed_hosts=("127.0.0.1",), allowed_ports=())
    url = named(web.url, "mirror")
    assert allows(rules, url)
    with pytest.raises(InvalidRequest, match=r"mirror\.test is 127\.0\.0\.1, not allowed"):
        source(url, allowed=peers_of(rules, "private")).open()
    assert not web.requests


def test_a_host_on_the_allow_list_may_be_anywhere(server: Any, source: Any, names: Resolver) -> None:
    names(mirror=[["127.0.0.1"]])
    web = server(serve(CONTENT))
    rules = ImportFilters(allowed_hosts=("mirror.test",), disallowed_hosts=("127.0.0.1",), allowed_ports=())
    source(named(web.url, "Mirror"), allowed=peers_of(rules, "public")).open()
    assert len(web.requests) == 1


def test_a_location_in_a_store_of_any_web_server() -> None:
    """Users of Glance may give locations."""
    store = HttpStore("web")
    with pytest.raises(InvalidRequest, match="local to the link"):
        store.open_reader(Location("http://169.254.169.254/latest", "web")).open()


def test_tls_is_with_the_name_and_not_with_the_address(server: Any, source: Any, names: Resolver, tmp_path: Path) -> None:
    pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x"
    command = [*make.split(), "-addext", "subjectAltName=DNS:mirror.test", "-out", str(pem), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    shown: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: shown.append(name)
    names(mirror=[["127.0.0.1"]], other=[["127.0.0.1"]])
    web = server(serve(CONTENT), tls=context)
    image = source(named(web.url, "mirror"), ca=str(pem))
    image.open()
    assert read_all(image) == CONTENT
    assert shown == ["mirror.test"]
    with pytest.raises(SourceError, match="certificate is not trusted"):
        source(named(web.url, "other"), ca=str(pem)).open()


def test_a_proxy_of_the_environment_is_not_used(server: Any, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would connect to where no rule of ours is asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web = server(serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
