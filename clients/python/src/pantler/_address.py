"""Where a service listens, read from URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

ALLOWED = (
    "http://host:port, https://host:port, unix:/path/of/socket or http+unix://%2Fpath%2Fof%2Fsocket, each of them "
    "with or without /v1/namespaces/NAME behind it"
)


class Address(NamedTuple):
    """A host and port, with or without TLS, or a Unix socket."""

    host: str | None
    port: int | None
    path: str | None
    """The path of a Unix socket; host and port are None then."""
    tls: bool
    host_field: bytes
    """What the field ``Host`` of a request says."""

    def __str__(self) -> str:
        if self.path is not None:
            plain = not re.search(r"[\s,:%]", self.path)
            return f"unix:{self.path}" if plain else f"http+unix://{quote(self.path, safe='')}"
        return f"{'https' if self.tls else 'http'}://{self.host_field.decode('ascii')}"


def parse_addresses(url: str | Iterable[str]) -> tuple[tuple[Address, ...], str | None]:
    """The addresses that URLs name, in their order, and the namespace that they name, if they do.

    Several URLs come as a sequence or in one string, separated by commas or spaces. All of them have to name the same
    namespace, or none. Raises ValueError, with what is allowed, where one is wrong.
    """
    texts = _split(url)
    if not texts:
        raise ValueError(f"There is no URL of the service in {url!r}. Allowed is {ALLOWED}.")
    addresses: list[Address] = []
    namespaces: list[str | None] = []
    for text in texts:
        address, namespace = _parse(text)
        if address not in addresses:
            addresses.append(address)
        namespaces.append(namespace)
    if any(namespace != namespaces[0] for namespace in namespaces):
        named = ", ".join("none" if namespace is None else repr(namespace) for namespace in namespaces)
        raise ValueError(f"The URLs of one service name different namespaces: {named}. All name the same, or none.")
    return tuple(addresses), namespaces[0]


def _split(url: str | Iterable[str]) -> list[str]:
    if isinstance(url, str):
        return url.replace(",", " ").split()
    texts: list[str] = []
    if isinstance(url, (bytes, bytearray)) or not isinstance(url, Iterable):
        raise ValueError(f"A URL of the service is a string, or several in a list, not {url!r}. Allowed is {ALLOWED}.")
    for text in url:
        if not isinstance(text, str):
            raise ValueError(f"A URL of the service is a string, not {text!r}. Allowed is {ALLOWED}.")
        texts.extend(_split(text))
    return texts


def _parse(text: str) -> tuple[Address, str | None]:
    def wrong(why: str) -> ValueError:
        # A password does not go into logs.
        shown = re.sub(r"//.*@", "//…@", text)
        return ValueError(f"The URL {shown!r} of the service {why}. Allowed is {ALLOWED}.")

    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or not text.isascii() and scheme != "unix":
        raise wrong("has no scheme" if not colon else "has letters beyond ASCII")
    if scheme == "unix":
        # As nginx writes it: the path of the socket ends at the next colon. Three slashes are what URL libraries make.
        path, _, behind = rest.partition(":")
        if path.startswith("//"):
            path = path[2:]
        if not path.startswith("/"):
            raise wrong("names no absolute path of a socket")
        return _unix(path), _namespace(behind, wrong)
    if scheme not in ("http", "https", "http+unix"):
        raise wrong(f"has the scheme {scheme!r}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise wrong(f"cannot be read: {error}") from None
    if not rest.startswith("//"):
        raise wrong("has no // behind the scheme")
    if parts.username is not None or parts.password is not None:
        raise wrong("holds a user or a password; a token is given by itself")
    if parts.query or parts.fragment:
        raise wrong("holds a query or a fragment")
    namespace = _namespace(parts.path, wrong)
    if scheme == "http+unix":
        path = unquote(parts.netloc)
        if not path.startswith("/"):
            raise wrong("names no absolute path of a socket, with %2F for each slash")
        return _unix(path), namespace
    host = parts.hostname
    if not host:
        raise wrong("names no host")
    if port == 0:
        raise wrong("has the port 0")
    tls = scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    # A scope (fe80::1%eth0) is for this machine alone and stands in no field.
    field = shown.split("%")[0] + "]" if "%" in shown else shown
    if port is not None and port != (443 if tls else 80):
        field += f":{port}"
    return Address(host, port or (443 if tls else 80), None, tls, field.encode("ascii")), namespace


def _unix(path: str) -> Address:
    return Address(None, None, path, False, b"localhost")


def _namespace(path: str, wrong: object) -> str | None:
    path = path.rstrip("/")
    if path in ("", "/v1"):
        return None
    start = "/v1/namespaces/"
    name = unquote(path[len(start) :])
    if not path.startswith(start) or not name or "/" in name:
        assert callable(wrong)
        raise wrong(f"has the path {path!r}")
    return name
