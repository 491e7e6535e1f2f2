"""Carries what reaches the job's localhost on to its services. A program of its own, run in the job's network.

    python -I -S docker_forward.py PROTOCOL:PORT=ADDRESS:PORT...

It needs nothing of buildsys, and of Python no more than `contextlib`, `socket` and `threading`.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

PIECE = 1 << 16
CONNECT_WITHIN = 10.0
SILENCE = 60.0
"""Seconds after which an exchange of datagrams is over."""

Address = tuple[str, int]


READY = "ready"


def main(arguments: list[str]) -> None:
    """Say that all ports listen, then serve them. Ends at once where one cannot."""
    serving = []
    for argument in arguments:
        near, _, far = argument.partition("=")
        protocol, _, port = near.partition(":")
        host, _, inner = far.rpartition(":")
        target = (host, int(inner))
        if protocol == "tcp":
            serving += [threading.Thread(target=accept, args=(each, target)) for each in listeners(int(port))]
        else:
            serving.append(threading.Thread(target=exchange, args=(bound(int(port)), target)))
    print(READY, flush=True)
    for thread in serving:
        thread.start()


def listeners(port: int) -> list[socket.socket]:
    """Both families where there are both: clients try ::1 first."""
    found = [_listener(socket.AF_INET, "127.0.0.1", port)]
    with suppress(OSError):  # no IPv6 here
        found.append(_listener(socket.AF_INET6, "::1", port))
    return found


def _listener(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def accept(listener: socket.socket, target: Address) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=carry, args=(near, target), daemon=True).start()


def carry(near: socket.socket, target: Address) -> None:
    """Both directions, each until its own end."""
    with near, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as far:
        far.settimeout(CONNECT_WITHIN)
        try:
            far.connect(target)
        except OSError:
            return
        far.settimeout(None)
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so be the other
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def bound(port: int) -> socket.socket:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", port))
    return near


def exchange(near: socket.socket, target: Address) -> None:
    flows: dict[Address, socket.socket] = {}
    while True:
        piece, client = near.recvfrom(PIECE)
        flow = flows.get(client)
        try:
            if flow is None:
                flow = flows[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                flow.settimeout(SILENCE)
                flow.connect(target)
                threading.Thread(target=answer, args=(near, client, flow, flows), daemon=True).start()
            flow.send(piece)
        except OSError:
            flows.pop(client, None)  # datagrams may get lost


def answer(near: socket.socket, client: Address, flow: socket.socket, flows: dict[Address, socket.socket]) -> None:
    with flow:
        try:
            while True:
                near.sendto(flow.recv(PIECE), client)
        except OSError:
            flows.pop(client, None)


if __name__ == "__main__":
    main(sys.argv[1:])
