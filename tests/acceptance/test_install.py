"""What people get who install the wheel: everything is in it, and nothing of the source tree is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody").pw_uid


class Installation:
    """A fresh environment with nothing but the wheel, the dependencies, and a home folder."""

    def __init__(self, place: Path, wheel: Path) -> None:
        self.place = place
        environment = place / "an environment"
        subprocess.run([_interpreter(), "-m", "venv", "--without-pip", environment], check=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "bin" / "python"]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
        self.python = environment / "bin" / "python"
        self.program = environment / "bin" / "buildsys"
        packages = Path(self.run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # The dependencies are those of this environment. What a .pth file names is not searched for further .pth files,
        # so the source tree, which is installed here by one of its own, stays out of sight.
        (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    def run(self, *command: str | Path, uid: int | None = None, limit: float = 100) -> str:
        """What the command prints, in an empty folder and with an empty home; it must end well."""
        with tempfile.TemporaryDirectory(dir=self.place) as home:
            if uid is not None:
                os.chown(home, uid, uid)
                command = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command)
            environment = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, "LC_ALL": "C.UTF-8"}
            done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=limit)
        assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    place = Path(tempfile.mkdtemp(prefix="buildsys installation "))
    place.chmod(0o755)
    try:
        build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", SOURCE]
        subprocess.run([*build, "--wheel-dir", place / "wheels"], check=True)
        (wheel,) = (place / "wheels").iterdir()
        yield Installation(place, wheel)
    finally:
        shutil.rmtree(place)


def test_it_is_the_wheel_that_runs(installation: Installation) -> None:
    where = installation.run(
        installation.python, "-c", "import actors, buildsys; print(actors.__file__, buildsys.__file__, sep='\\n')"
    ).splitlines()
    assert all(Path(file).is_relative_to(installation.place) for file in where)
    assert installation.run(installation.program, "--version").split()[-1].count(".") == 2


def test_queries_migrations_and_the_page_are_in_it(installation: Installation) -> None:
    package = Path(installation.run(installation.python, "-c", "import buildsys; print(buildsys.__path__[0])").strip())
    for folder, source in (
        (package / "_sql" / "queries", SOURCE / "sql" / "buildsys"),
        (package / "_sql" / "migrations", SOURCE / "sql" / "migrations" / "buildsys"),
        (package.parent / "actors" / "_sql" / "queries", SOURCE / "sql" / "actors"),
        (package.parent / "actors" / "_sql" / "migrations", SOURCE / "sql" / "migrations" / "actors"),
        (package / "web" / "ui", SOURCE / "buildsys" / "web" / "ui"),
    ):
        there = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        assert there == {file.name: file.read_bytes() for file in source.iterdir() if file.is_file()}, folder


def test_the_doctor_finds_it_well(installation: Installation) -> None:
    assert installation.run(installation.program, "doctor", "--driver", "process")


@pytest.mark.parametrize("uid", [None, NOBODY], ids=["the-same-user", "an-ordinary-user"])
def test_the_demo_holds(installation: Installation, uid: int | None) -> None:
    if uid is not None and os.geteuid() != 0:
        pytest.skip("only root may become somebody else, and who is not root is ordinary")
    said = installation.run(installation.program, "demo", "--driver", "process", uid=uid)
    assert said.splitlines()[-1] == "The demo held."


def _interpreter() -> str:
    """This Python, or one of its version that any user may run: the home folder of root is closed to others."""
    candidates = (Path(sys.executable).resolve(), Path(f"/usr/bin/python3.{sys.version_info.minor}"))
    for candidate in candidates:
        if candidate.exists() and all(folder.stat().st_mode & 0o001 for folder in candidate.parents):
            return str(candidate)
    pytest.skip("no Python here can be run by every user")
