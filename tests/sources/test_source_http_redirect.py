"""Redirects, credentials, TLS: who is asked, and who is told what."""

import ssl
import subprocess
import threading

import pytest
from bad_server import answer, read_all, serve

from glance_stream.errors import InvalidRequest, SourceError
from glance_stream.sources.http_address import follow, parse

CONTENT = bytes(range(256)) * 100
SECRETS = ("hunter2", "aHVudGVyMg", "user:", "SIGNATURE", "TOKEN")

pytestmark = pytest.mark.timeout(60)


def with_userinfo(url: str) -> str:
    return url.replace("http://", "http://user:hunter%32@") + "?sig=SIGNATURE"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_followed(server, source, status: int) -> None:
    web = server(answer(status, Location="/other?a=b"), serve(CONTENT))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
    assert [request.target for request in web.requests] == ["/image", "/other?a=b"]


def test_loop_is_bounded(server, source) -> None:
    web = server(answer(302, Location="/image"))
    with pytest.raises(SourceError, match="more than 5 redirects") as caught:
        source(web.url).open()
    assert not caught.value.retryable
    assert len(web.requests) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/", "http://[::1", None, "//a b/", "data:,x"])
def test_led_astray(server, source, location: str | None) -> None:
    web = server(answer(302, Location=location))
    with pytest.raises(SourceError) as caught:
        source(web.url).open()
    assert not caught.value.retryable
    assert len(web.requests) == 1


def test_credentials_go_to_their_own_origin_only(server, source) -> None:
    other = server(serve(CONTENT, stop=1000), serve(CONTENT))
    web = server(answer(302, Location="/here"), answer(302, Location=other.url))
    image = source(with_userinfo(web.url), headers={"X-Auth-Token": "TOKEN", "Cookie": "TOKEN"})
    image.open()
    assert read_all(image) == CONTENT
    for request in web.requests:
        assert request.headers["authorization"] == "Basic dXNlcjpodW50ZXIy"
        assert request.headers["x-auth-token"] == "TOKEN"
    assert len(other.requests) == 2  # the resume goes where the body came from, and tells no more there
    for request in other.requests:
        assert not {"authorization", "x-auth-token", "cookie"} & request.headers.keys()


def test_userinfo_of_a_redirect_is_not_used(server, source) -> None:
    web = server(serve(CONTENT))
    first = server(answer(302, Location=web.url.replace("http://", "http://a:b@")))
    source(first.url).open()
    assert "authorization" not in web.requests[0].headers


def test_credentials_are_in_no_name_error_or_repr(server, source) -> None:
    gone = server(answer(302, Location="/x?token=TOKEN"), answer(404))
    texts = [repr(parse(with_userinfo(gone.url)))]
    for url in (gone.url, server(answer(503)).url, "http://127.0.0.1:1/a", server(answer(302, Location="ftp://u:hunter2@h/")).url):
        image = source(with_userinfo(url), headers={"X-Auth-Token": "TOKEN"})
        texts.append(image.name)
        with pytest.raises(SourceError) as caught:
            image.open()
        texts.append(str(caught.value))
    for url in ("http://user:hunter2@h:port/", "http://user:hunter2@/", "ftp://user:hunter2@h/", "http://user:hunter2@[::1/"):
        with pytest.raises(InvalidRequest) as refused:
            source(url)
        texts.append(str(refused.value))
    for text in texts:
        assert not any(secret in text.replace("sig=SIGNATURE'", "") for secret in SECRETS), text


def test_a_mirror_that_fails_sends_us_back_to_the_start(server, source) -> None:
    """The redirector hands out signed URLs that run out."""
    mirror = server(serve(CONTENT, stop=1000), answer(403), serve(CONTENT))
    web = server(answer(302, Location=mirror.url + "?1"), answer(302, Location=mirror.url + "?2"))
    image = source(web.url)
    image.open()
    assert read_all(image) == CONTENT
    assert [request.target for request in mirror.requests] == ["/image?1", "/image?1", "/image?2"]


def test_allow_is_asked_about_every_address(server, source) -> None:
    other = server(serve(CONTENT))
    web = server(answer(302, Location=other.url))
    asked: list[str] = []
    source(with_userinfo(web.url), allow=lambda url: not asked.append(url)).open()
    assert asked == [web.url + "?sig=SIGNATURE", other.url]
    with pytest.raises(InvalidRequest, match="not allowed"):
        source(web.url, allow=lambda url: False).open()
    with pytest.raises(SourceError, match=r"redirected, but .* not allowed"):
        source(web.url, allow=lambda url: url == web.url).open()
    assert len(other.requests) == 1


@pytest.mark.parametrize(
    ("url", "shown", "target"),
    [
        ("http://h", "http://h/", "/"),
        ("HTTP://H:80/a b?c d#e", "http://h/a%20b?...", "/a%20b?c%20d"),
        ("https://h:8443/%7Ea/ü", "https://h:8443/%7Ea/%C3%BC", "/%7Ea/%C3%BC"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a", "/a"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "/"),
    ],
)
def test_addresses(url: str, shown: str, target: str) -> None:
    address = parse(url)
    assert (address.shown, address.target) == (shown, target)


def test_no_way_from_https_to_http() -> None:
    with pytest.raises(InvalidRequest, match="from https to http"):
        follow(parse("https://h/"), "http://h/")
    assert follow(parse("http://h/"), "https://h/").scheme == "https"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    names = folder / "certificate.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(names[0]), "-keyout", str(names[1])]
    subprocess.run(command, check=True, capture_output=True)
    return str(names[0]), str(names[1])


@pytest.fixture
def tls(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_with_a_ca_of_our_own(server, source, tls, certificate) -> None:
    web = server(serve(CONTENT, stop=1000), serve(CONTENT), tls=tls)
    image = source(web.url, ca=certificate[0])
    image.open()
    assert read_all(image) == CONTENT
    assert len(web.requests) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_verification_is_on(server, source, tls, certificate, host: str) -> None:
    """An unknown issuer, and a known one for another name."""
    web = server(serve(CONTENT), tls=tls)
    with pytest.raises(SourceError, match="certificate is not trusted") as caught:
        source(web.url.replace("127.0.0.1", host), ca=None if host == "127.0.0.1" else certificate[0]).open()
    assert not caught.value.retryable
    assert not web.requests


def test_missing_ca_bundle(source) -> None:
    with pytest.raises(InvalidRequest, match="CA bundle"):
        source("https://127.0.0.1:1/", ca="/nowhere").open()


def test_interrupt_of_a_tls_read(server, source, tls, certificate) -> None:
    web = server(serve(CONTENT, stop=10, how="stall"), tls=tls)
    image = source(web.url, ca=certificate[0])
    image.open()
    timer = threading.Timer(0.05, image.interrupt)
    timer.start()
    with pytest.raises(SourceError, match="interrupted"):
        read_all(image)
    timer.join()
