"""The ports at which a job finds its services on `localhost`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from buildsys.core.driver import ServiceSpec
from buildsys.core.ports import Port, read_port
from buildsys.errors import ContainerRefused

_FREE_FROM = 49152
"""The first of the dynamic ports (RFC 6335, section 6)."""


class LocalPort(msgspec.Struct, frozen=True, kw_only=True):
    """`local` at the job's localhost leads to `inner` of the service."""

    service: str
    local: int
    inner: int
    protocol: str = "tcp"


def local_ports(services: Sequence[ServiceSpec]) -> list[LocalPort]:
    """The ports that are asked for. Where the choice is left to us it is the service's own, if that is free.

    Raises `ContainerRefused` for one that cannot be, or that is wanted twice.
    """
    wanted = [(service.name, _read(text, service.name)) for service in services for text in service.ports]
    taken: dict[tuple[int, str], str] = {}
    for service, port in wanted:
        if port.outer is not None:
            if other := taken.get((port.outer, port.protocol)):
                raise ContainerRefused(f"the services {other} and {service} both want port {port.outer} of localhost")
            taken[port.outer, port.protocol] = service
    ports = []
    for service, port in wanted:
        local = port.outer
        if local is None:
            choice = itertools.chain([port.inner], itertools.count(_FREE_FROM))
            local = next(number for number in choice if (number, port.protocol) not in taken)
            taken[local, port.protocol] = service
        ports.append(LocalPort(service=service, local=local, inner=port.inner, protocol=port.protocol))
    return ports


def _read(text: str, service: str) -> Port:
    try:
        return read_port(text)
    except ValueError as error:
        raise ContainerRefused(f"the service {service}: {error}") from None
