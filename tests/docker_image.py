"""Images for tests, made of this host's own programs: no registry is asked, and each takes about half a second.

base_image()      busybox and git; runs as root
user_image()      the same as user 1000
dash_image()      dash and the GNU tools, as Debian has them
bash_image()      bash as `sh` and the GNU tools, as Fedora has them
no_shell_image()  one static program and no `sh`
no_tools_image()  a `sh` without the commands that the init needs
python_image()    busybox, git, and the Python of these tests with its standard library
hosted_image()    the same with bash and make, and stand-ins for what would fetch packages; they say what they are asked
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

GNU_TOOLS = ("cat", "chmod", "dd", "echo", "env", "ls", "mkdir", "mkfifo", "mv", "rm", "sleep", "tee", "touch", "tr")
CONTENT_LABEL = "buildsys.test.content"
STAND_INS = {"sudo": 'exec "$@"', **{name: f'echo "{name} $*"' for name in ("apt", "apt-get", "yum")}}
ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nbuilder:x:1000:1000:builder:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nbuilder:x:1000:\n",
}


def require_engine() -> None:
    """Skip the test where no engine answers, or busybox is missing; fail instead where the environment demands it."""
    missing = missing_engine()
    if missing is None:
        return
    if os.environ.get("BUILDSYS_TEST_REQUIRE_DOCKER") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def base_image() -> str:
    return _image("base", busybox=True, programs=("git",))


def user_image() -> str:
    return _image("user", busybox=True, user="1000")


def dash_image() -> str:
    return _image("dash", shell="dash", programs=(*GNU_TOOLS, "setsid"))


def bash_image() -> str:
    return _image("bash", shell="bash", programs=(*GNU_TOOLS, "setsid"))


def no_shell_image() -> str:
    return _image("no-shell", programs=("busybox",))


def no_tools_image() -> str:
    return _image("no-tools", shell="dash", programs=("cat", "dd"))


def python_image() -> str:
    return _image("python", busybox=True, programs=("git",), python=True)


def hosted_image() -> str:
    return _image(
        "hosted", busybox=True, programs=("git", "bash", "make"), python=True, scripts=tuple(STAND_INS.items())
    )


@functools.cache
def missing_engine() -> str | None:
    """Why there are no images here; None where there are."""
    for program in ("docker", "busybox"):
        if shutil.which(program) is None:
            return f"no {program} on this host: see .ci/engine"
    if subprocess.run(["docker", "version"], capture_output=True).returncode != 0:
        return "no Docker engine answers: see .ci/engine"
    return None


@functools.cache
def _image(
    name: str,
    *,
    busybox: bool = False,
    shell: str | None = None,
    programs: Iterable[str] = (),
    python: bool = False,
    user: str = "",
    scripts: tuple[tuple[str, str], ...] = (),
) -> str:
    """Import a root file system with these programs, and say its name. An earlier run's is taken if it is the same."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        _add_folder(tar, "tmp", mode=0o1777)
        for path, text in ACCOUNTS.items():
            _add_bytes(tar, path, text)
        if busybox:
            _add_busybox(tar)
        if shell:
            _add_program(tar, shell)
            _add_link(tar, "bin/sh", f"/usr/bin/{shell}")
        for program in programs:
            _add_program(tar, program)
        if python:
            _add_python(tar)
        for script, text in scripts:
            _add_bytes(tar, f"usr/bin/{script}", f"#!/bin/sh\n{text}\n".encode(), mode=0o755)
        if "git" in programs:
            tar.add("/usr/share/git-core/templates", "usr/share/git-core/templates")
    tag = f"buildsys-test-{name}:1"
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    look = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{CONTENT_LABEL}"}}}}', tag]
    if subprocess.run(look, capture_output=True, text=True).stdout.strip() == digest:
        return tag
    changes = ["ENV PATH=/usr/bin:/bin", f"LABEL {CONTENT_LABEL}={digest}", *([f"USER {user}"] if user else [])]
    command = ["docker", "import", *(word for change in changes for word in ("--change", change)), "-", tag]
    subprocess.run(command, input=content.getvalue(), check=True, stdout=subprocess.DEVNULL)
    return tag


def _add_busybox(tar: tarfile.TarFile) -> None:
    _add_program(tar, "busybox")
    applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            _add_link(tar, f"bin/{applet}", "/usr/bin/busybox")


def _add_program(tar: tarfile.TarFile, program: str) -> None:
    """Add a program of the host and the shared libraries that it asks for."""
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"no {program} on this host to make a test image of")
    source = Path(found).resolve()
    tar.add(source, f"usr/bin/{program}")
    _add_libraries(tar, source)


def _add_python(tar: tarfile.TarFile) -> None:
    """Add this Python as `python3`, without what was installed beside its standard library."""
    source = Path(sys.executable).resolve()
    tar.add(source, "usr/bin/python3")
    _add_libraries(tar, source)
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "idlelib", "__pycache__"}
    for file in sorted(library.rglob("*")):
        inner = file.relative_to(library)
        if file.is_file() and left_out.isdisjoint(inner.parts) and file.suffix != ".a":
            tar.add(file, f"usr/lib/{library.name}/{inner}")
            if file.suffix == ".so":
                _add_libraries(tar, file)


def _add_libraries(tar: tarfile.TarFile, source: Path) -> None:
    linked = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        if library.lstrip("/") not in tar.getnames():
            tar.add(Path(library).resolve(), library.lstrip("/"))


def _add_folder(tar: tarfile.TarFile, path: str, *, mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _add_link(tar: tarfile.TarFile, path: str, target: str) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _add_bytes(tar: tarfile.TarFile, path: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))
