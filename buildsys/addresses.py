"""Where a process listens, and how it is reached there."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from buildsys.errors import SetupError


class AddressUnusable(SetupError):
    """The API cannot listen where it is told to."""

    code = "address_unusable"

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {why}; stop what listens there, or choose another --listen HOST:PORT"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, on any free port where `port` is 0. Raises `AddressUnusable`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # of two that are bound to one port, only one may
    except OSError as error:
        listener.close()
        raise AddressUnusable(host, port, error.strerror or str(error)) from None
    return listener


def local_url(host: str, port: int) -> str:
    """The URL at which this host reaches what listens there."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  compared, not bound
    return f"http://{anywhere.get(host, f'[{host}]' if ':' in host else host)}:{port}"


def why_unreachable(address: str, others: Collection[str]) -> str | None:
    """Why nodes at these URLs may not reach each other; None where nothing speaks against it."""
    if address in others:
        return "two nodes have the same address, and each may get the other's calls"
    for one in (address, *others) if others else ():
        if _is_loopback(urlsplit(one).hostname or ""):
            return f"{one} is each machine's own, and nodes on other machines do not reach it"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
