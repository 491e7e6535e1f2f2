"""The image of the forwarder: this host's own Python, and of its library only what `docker_forward` loads.

It is made without a registry, by the engine's builder, when a job first wants a service on its localhost; that takes
about a second, and again only when this host's Python has changed or the image was pruned.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from aiodocker.containers import DockerContainer

from buildsys.adapters import docker_forward
from buildsys.adapters.docker_container import isolation
from buildsys.adapters.docker_engine import Engine
from buildsys.adapters.docker_ports import LocalPort
from buildsys.errors import DriverError

_LOADED = """
import os, sys
exec(open(sys.argv[1]).read(), {"__name__": "forward"})
files = [getattr(module, key, None) for module in sys.modules.values() for key in ("__file__", "__cached__")]
print(os.path.realpath("/proc/self/exe"), *sorted({each for each in files if each and os.path.isfile(each)}), sep="\\n")
"""
"""Says the interpreter's path, and then every file that it has loaded once it has loaded the program."""

_LIBRARY = re.compile(r"(/\S+) \(0x")
_DOCKERFILE = b"FROM scratch\nCOPY root /\n"
_NOBODY = "65534:65534"
_MEMORY = 256 << 20
_THREADS = 4096
_READY_WITHIN = 20.0
_LOOK = 0.02


class ForwarderImage:
    """Made when it is first needed. It remembers its content, and asks the engine whether it is there."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine
        self._making = asyncio.Lock()
        self._content = b""
        self._python = ""

    async def ensure(self) -> str:
        """The image's name. Raises `DriverError` where it cannot be made."""
        async with self._making:
            if not self._content:
                self._python, self._content = await asyncio.to_thread(_content)
            name = f"buildsys-forwarder:{hashlib.sha256(self._content).hexdigest()[:16]}"
            if await self._engine.find(self._engine.client.images.inspect(name)) is None:
                async for report in self._engine.build(
                    io.BytesIO(self._content), {"t": name, "rm": "1", "forcerm": "1"}
                ):
                    if "error" in report:
                        raise DriverError(f"the image for services on localhost cannot be made: {report['error']}")
            return name

    def config(self, image: str, ports: list[LocalPort], addresses: dict[str, str]) -> dict[str, Any]:
        """The body of `containers/create` for a forwarder to these addresses of services, but for its place."""
        ways = [f"{port.protocol}:{port.local}={addresses[port.service]}:{port.inner}" for port in ports]
        source = Path(docker_forward.__file__).read_text()
        return {
            "Image": image,
            "User": _NOBODY,
            "Entrypoint": [self._python, "-I", "-S", "-c", source, *ways],
            "Cmd": [],
            "HostConfig": {
                **isolation(()),
                "Init": False,
                "ReadonlyRootfs": True,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
                "Memory": _MEMORY,
                "MemorySwap": _MEMORY,
                "PidsLimit": _THREADS,
            },
        }

    async def await_ready(self, container: DockerContainer) -> None:
        """Return once it listens at all its ports. Raises `DriverError` where it cannot."""
        deadline = asyncio.get_running_loop().time() + _READY_WITHIN
        while True:
            said = "".join(await self._engine.ask(container.log(stdout=True, stderr=True)))
            if said.startswith(docker_forward.READY):
                return
            running = (await self._engine.ask(container.show()))["State"]["Running"]
            if not running or asyncio.get_running_loop().time() > deadline:
                reason = said.splitlines()[-1] if said.strip() else "it says nothing"
                raise DriverError(f"the services' ports cannot be had on localhost: {reason}")
            await asyncio.sleep(_LOOK)


def _content() -> tuple[str, bytes]:
    """The interpreter's path, and an archive for the builder with each file where this host has it."""
    command = [os.path.realpath(sys.executable), "-I", "-S", "-c", _LOADED, docker_forward.__file__]
    python, *loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    files = {python, *loaded}
    for file in sorted(files):
        if file == python or ".so" in file:
            # A static program has no libraries, and `ldd` says so by its status.
            linked = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
            files.update(_LIBRARY.findall(linked))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        _add(tar, "Dockerfile", _DOCKERFILE, mode=0o644, mtime=0)
        for file in sorted(files):
            info = Path(file).stat()
            _add(tar, f"root{file}", Path(file).read_bytes(), mode=info.st_mode & 0o555, mtime=int(info.st_mtime))
    return python, archive.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int, mtime: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, mtime
    tar.addfile(info, io.BytesIO(content))
