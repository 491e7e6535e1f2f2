"""The process that forks a supervisor a job, so that no job waits for an interpreter.

It is spoken to over one socket, a JSON order a packet, and ends with the socket's other end: with the runner. The
supervisors it forked go on. Standard library only.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket

from buildsys.adapters.process_supervisor import supervise

ORDER_LIMIT = 1 << 17
"""Bytes of an order, labels and all. A socket's default buffer takes that much (net.core.wmem_default, 208 KiB)."""


def main() -> None:
    orders = socket.socket(fileno=os.dup(0))
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors leave no zombies
    gc.freeze()  # forks share what no collection touches
    while order := orders.recv(ORDER_LIMIT):
        if os.fork() == 0:
            try:
                supervise(json.loads(order), orders)
            finally:
                os._exit(1)
