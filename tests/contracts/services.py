"""Services for the suite of the drivers: containers that run a script, and a look at the engine from outside."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import docker_image
from containers import Job

from buildsys.core.driver import ServiceSpec

Launch = Callable[..., Awaitable[Job]]


def docker(*arguments: str) -> str:
    """What the engine's own client says: another pair of eyes than the driver's."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def inspected(name: str) -> dict[str, Any]:
    [info] = json.loads(docker("container", "inspect", name))
    assert isinstance(info, dict)
    return info


def containers(job: Job) -> list[str]:
    """All that the engine has of a job."""
    return docker(
        "container", "ls", "--all", "--quiet", "--filter", f"label=buildsys.container={job.spec.name}"
    ).split()


def parts(job: Job) -> list[str]:
    """All that the engine has of a job, its network too."""
    label = f"label=buildsys.container={job.spec.name}"
    return containers(job) + docker("network", "ls", "--quiet", "--filter", label).split()


@functools.cache
def script_image(base: str) -> str:
    """The base with a command that runs what the variable SCRIPT says."""
    tag = f"{base.partition(':')[0]}-service:1"
    dockerfile = f'FROM {base}\nCMD ["sh", "-c", "eval \\"$SCRIPT\\""]\n'
    build = ["docker", "build", "-q", "-t", tag, "-"]
    subprocess.run(build, input=dockerfile.encode(), check=True, capture_output=True)
    return tag


def service(name: str, script: str, *options: str, ports: tuple[str, ...] = (), **env: str) -> ServiceSpec:
    image = script_image(docker_image.base_image())
    return ServiceSpec(name=name, image=image, env={"SCRIPT": script, **env}, options=options, ports=ports)


def python_service(name: str, code: str, *options: str, ports: tuple[str, ...] = ()) -> ServiceSpec:
    image = script_image(docker_image.python_image())
    return ServiceSpec(
        name=name, image=image, env={"SCRIPT": f"exec python3 -uc '{code}'"}, options=options, ports=ports
    )


ECHO = """
import socket
near = socket.socket(type=socket.SOCK_DGRAM)
near.bind(("", 7001))
while True:
    word, sender = near.recvfrom(100)
    open("/tmp/caught", "ab").write(word)
    near.sendto(b"got " + word, sender)
"""
"""A service that keeps each datagram, and answers it."""

GREET = """
import socket, threading
def greet(listener):
    while True:
        with listener.accept()[0] as near:
            near.send(b"mine ")
threading.Thread(target=greet, args=[socket.create_server(("", 7000))]).start()
"""

ASK = """
import socket, sys, time
end = time.monotonic() + int(sys.argv[2])
near = socket.socket(type=socket.SOCK_DGRAM)
while time.monotonic() < end:
    near.sendto(b"word", (sys.argv[1], 7001))
    try:
        with socket.create_connection((sys.argv[1], 7000), timeout=0.02) as far:
            sys.stdout.write(far.recv(10).decode())
    except OSError:
        pass
"""
"""Try a host's two ports, without a pause, for some seconds."""


def says(word: str, port: int = 7000) -> str:
    """A script that says a word to whoever connects."""
    return f"exec nc -ll -p {port} -e echo {word}"


OUT = "ip route"


def asks(host: str, port: int) -> str:
    return f"nc -w 5 {host} {port} </dev/null"


def healthy(command: str, *, retries: int = 100) -> tuple[str, ...]:
    return (f"--health-cmd={command}", "--health-interval=200ms", "--health-timeout=5s", f"--health-retries={retries}")


LISTENING = healthy("netstat -ltn | grep -q :7000")
