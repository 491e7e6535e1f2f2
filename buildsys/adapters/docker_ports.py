"""The ports at which a job finds its services on `localhost`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import msgspec

from buildsys.core.driver import ServiceSpec
from buildsys.errors import ContainerRefused

_PORT = re.compile(r"(?:(?P<local>\d{1,5}):)?(?P<inner>\d{1,5})(?:/(?P<protocol>tcp|udp))?")
_LARGEST = 65535
_FREE_FROM = 49152
"""The first of the dynamic ports (RFC 6335, section 6)."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """`local` at the job's localhost leads to `inner` of the service."""

    service: str
    local: int
    inner: int
    protocol: str = "tcp"


def local_ports(services: Sequence[ServiceSpec]) -> list[Port]:
    """The ports that are asked for. Where the choice is left to us it is the service's own, if that is free.

    Raises `ContainerRefused` for one that cannot be, or that two services want.
    """
    wanted = [(service.name, *_read(text, service.name)) for service in services for text in service.ports]
    taken: dict[tuple[int, str], str] = {}
    for service, local, _, protocol in wanted:
        if local is not None:
            other = taken.setdefault((local, protocol), service)
            if other != service:
                raise ContainerRefused(f"the services {other} and {service} both want port {local} of localhost")
    ports = []
    for service, local, inner, protocol in wanted:
        if local is None:
            free = (
                port for port in itertools.chain([inner], itertools.count(_FREE_FROM)) if (port, protocol) not in taken
            )
            local = next(free)
            taken[local, protocol] = service
        ports.append(Port(service=service, local=local, inner=inner, protocol=protocol))
    return ports


def _read(text: str, service: str) -> tuple[int | None, int, str]:
    found = _PORT.fullmatch(text)
    numbers = [int(found[name]) for name in ("local", "inner") if found[name]] if found else []
    if found is None or not all(1 <= number <= _LARGEST for number in numbers):
        raise ContainerRefused(f"the service {service}: expected a port such as 5432 or 8080:80, found {text[:60]!r}")
    return numbers[0] if found["local"] else None, numbers[-1], found["protocol"] or "tcp"
