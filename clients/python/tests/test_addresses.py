"""What URLs name, and how keys go out."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from pantler._address import Address, parse_addresses
from pantler._keys import path
from pantler._pool import Pool
from pantler.errors import Invalid


def one(url: str) -> tuple[Address, str | None]:
    addresses, namespace = parse_addresses(url)
    assert len(addresses) == 1
    return addresses[0], namespace


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "field"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, False, b"127.0.0.1:8080"),
        ("http://cache", "cache", 80, False, b"cache"),
        ("http://cache/", "cache", 80, False, b"cache"),
        ("http://cache/v1", "cache", 80, False, b"cache"),
        ("HTTP://Cache:81", "cache", 81, False, b"cache:81"),
        ("https://cache.example", "cache.example", 443, True, b"cache.example"),
        ("https://cache.example:443", "cache.example", 443, True, b"cache.example"),
        ("https://cache.example:8443/", "cache.example", 8443, True, b"cache.example:8443"),
        ("http://[::1]:8080", "::1", 8080, False, b"[::1]:8080"),
        ("https://[2001:db8::1]", "2001:db8::1", 443, True, b"[2001:db8::1]"),
        ("http://[fe80::1%eth0]:8080", "fe80::1%eth0", 8080, False, b"[fe80::1]:8080"),
        ("  http://cache:1 ", "cache", 1, False, b"cache:1"),
    ],
)
def test_urls_of_hosts(url: str, host: str, port: int, tls: bool, field: bytes) -> None:
    assert one(url) == (Address(host, port, None, tls, field), None)


@pytest.mark.parametrize(
    ("url", "socket", "namespace"),
    [
        ("unix:/run/pantler.sock", "/run/pantler.sock", None),
        ("unix:///run/pantler.sock", "/run/pantler.sock", None),
        ("unix:/run/pantler.sock:", "/run/pantler.sock", None),
        ("unix:/run/pantler.sock:/v1/namespaces/site", "/run/pantler.sock", "site"),
        ("UNIX:/run/pantler.sock:/v1/namespaces/site/", "/run/pantler.sock", "site"),
        ("http+unix://%2Frun%2Fpantler.sock", "/run/pantler.sock", None),
        ("http+unix://%2Frun%2FPantler%20A.sock/v1/namespaces/site", "/run/Pantler A.sock", "site"),
    ],
)
def test_urls_of_sockets(url: str, socket: str, namespace: str | None) -> None:
    address, named = one(url)
    assert (address, named) == (Address(None, None, socket, False, b"localhost"), namespace)
    assert one(str(address)) == (address, None), "an address is shown as it can be given"


def test_a_namespace_stands_behind_the_address() -> None:
    assert one("http://cache:1/v1/namespaces/site")[1] == "site"
    assert one("http://cache:1/v1/namespaces/a%20b/")[1] == "a b"


@pytest.mark.parametrize(
    "urls",
    [
        "http://a:1, http://b:2,unix:/c",
        "http://a:1 http://b:2 unix:/c",
        ["http://a:1", "http://b:2", "unix:/c"],
        ("http://a:1,http://b:2", "unix:/c"),
        iter(["http://a:1", "http://b:2", "unix:/c", "http://a:1"]),
    ],
)
def test_several_urls(urls: object) -> None:
    addresses, namespace = parse_addresses(urls)  # type: ignore[arg-type]
    assert [str(address) for address in addresses] == ["http://a:1", "http://b:2", "unix:/c"] and namespace is None


def test_several_urls_name_one_namespace_or_none() -> None:
    assert parse_addresses("http://a/v1/namespaces/x unix:/b:/v1/namespaces/x")[1] == "x"
    for urls in ("http://a/v1/namespaces/x http://b/v1/namespaces/y", "http://a/v1/namespaces/x http://b"):
        with pytest.raises(ValueError, match="different namespaces"):
            parse_addresses(urls)


@pytest.mark.parametrize(
    "url",
    [
        "",
        " , ",
        [],
        [17],
        ["http://a", None],
        "cache:8080",
        "127.0.0.1:8080",
        "localhost",
        "/run/pantler.sock",
        "redis://cache:6379/1",
        "httpx://cache",
        "http:cache",
        "http:/cache",
        "http://",
        "http://:8080",
        "http:///v1/namespaces/x",
        "http://cache:0",
        "http://cache:65536",
        "http://cache:abc",
        "http://cache:-1",
        "http://[::1",
        "http://::1:8080",
        "http://user@cache",
        "http://user:secret@cache",
        "http://cache?x=1",
        "http://cache#x",
        "http://cache/v1/namespaces/a/entries",
        "http://cache/v2",
        "http://cache/pantler/v1/namespaces/x",
        "http://cache/v1/namespaces/",
        "http://cache/site",
        "http://cäche",
        "unix:",
        "unix:run/pantler.sock",
        "unix:/a:/site",
        "http+unix://run",
        "http+unix:///run/pantler.sock",
    ],
)
def test_a_wrong_url_is_told_what_is_allowed(url: object) -> None:
    with pytest.raises(ValueError, match="Allowed is http://host:port") as raised:
        parse_addresses(url)  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)


# Keys.

SAFE = ["a", "user:17", "A-b_c~d@e.f", "0", "-", "a.", "a..b", "x" * 1024]
OTHER = [".", "..", ".a", "...", "/", "a/b", "a//b", "/a", "a/", "a/../b", "a/./b", "%", "%2F", "%2e%2e", "+", "a+b", " ", "a b",
         "?", "a?b", "#", "a#b", "&", "a&b=c", "=", ";", ",", "\\", "a\\b", '"', "'", "<>", "[]", "{}", "|", "^", "`", "!", "$", "*",
         "(", ")", "\t", "\n", "\r\n", "\x01", "\x7f", "ü", "日本", "é", "\U0001f600", "a\n", "x" * 1023 + "/", "ü" * 512]  # fmt: skip


@pytest.mark.parametrize("key", SAFE + OTHER)
def test_what_goes_out_says_the_key_and_nothing_else(key: str) -> None:
    for view, one in (("entries", "entry"), ("values", "value"), ("counters", "counter"), ("leases", "lease")):
        target = path("/v1/namespaces/x", view, key)  # type: ignore[arg-type]
        if key in SAFE:
            assert target == f"/v1/namespaces/x/{view}/{key}"
        else:
            start = f"/v1/namespaces/x/{one}?key="
            assert target.startswith(start)
            rest = target[len(start) :]
            assert unquote(rest) == key
            assert rest.isascii() and not set(rest) & set(' /+?#&=;,\\"<>\r\n'), rest
        assert path(b"/v1/namespaces/x", view, key) == target  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "why"), [("", "0 bytes"), ("x" * 1025, "1025 bytes"), ("ü" * 513, "1026 bytes"), ("a\0b", "NUL"), ("\ud800", "surrogate")]
)  # fmt: skip
def test_a_key_out_of_form_is_told_what_one_is(key: str, why: str) -> None:
    with pytest.raises(Invalid, match=f"{why}.*1 to 1024 bytes of UTF-8 without NUL") as raised:
        path("/v1/namespaces/x", "values", key)
    assert isinstance(raised.value, ValueError) and raised.value.code == "key_invalid"


@pytest.mark.parametrize("key", [None, 17, b"a", ["a"]])
def test_a_key_is_a_string(key: object) -> None:
    with pytest.raises(TypeError, match="A key is a string"):
        path("/v1/namespaces/x", "values", key)  # type: ignore[arg-type]


@pytest.mark.parametrize("over", ["service", "service_socket"])
def test_the_service_takes_each_key_for_itself(over: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(over)
    addresses, _ = parse_addresses(place if over == "service" else f"unix:{place}")
    pool = Pool(addresses)
    keys = SAFE + OTHER
    for index, key in enumerate(keys):
        start = f"PUT {path('/v1/namespaces/default', 'values', key)} HTTP/1.1\r\n".encode()
        body = b"%d" % index
        status, _, answer = pool.exchange(start, b"Content-Length: %d\r\n\r\n%s" % (len(body), body), safe=False)
        assert status in (200, 201), answer
    for index, key in enumerate(keys):
        start = f"GET {path('/v1/namespaces/default', 'values', key)} HTTP/1.1\r\n".encode()
        assert pool.exchange(start, b"\r\n", safe=True)[2] == b"%d" % index, key
    assert len(pool._places[0].idle) == 1
    pool.close()
