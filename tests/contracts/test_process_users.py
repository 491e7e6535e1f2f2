"""Users for jobs: each claim another one, given back by its holder alone, taken over when its processes are gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from containers import as_root

from buildsys.adapters import process_users
from buildsys.adapters.process_users import claim, holds, release
from buildsys.errors import DriverError

pytestmark = as_root


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_users, "CLAIMS", tmp_path / "claims")
    monkeypatch.setattr(process_users, "USERS", range(64990, 64993))


def test_each_claim_is_another_user_until_none_is_left(tmp_path: Path) -> None:
    records = [tmp_path / f"{i}.container" for i in range(3)]
    users = {claim(record) for record in records}
    assert users == {64990, 64991, 64992}
    with pytest.raises(DriverError, match="in use"):
        claim(tmp_path / "fourth")


def test_only_its_holder_gives_a_user_back(tmp_path: Path) -> None:
    uid = claim(tmp_path / "mine")
    release(uid, tmp_path / "other")
    assert holds(uid, tmp_path / "mine")
    release(uid, tmp_path / "mine")
    assert not holds(uid, tmp_path / "mine")


def test_a_forgotten_claim_is_taken_over_once_its_processes_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_users, "RECORD_DEADLINE", -1.0)
    users = [claim(tmp_path / f"{i}.container") for i in range(3)]
    for i in (1, 2):
        (tmp_path / f"{i}.container").touch()

    def run_as() -> int:
        pid = os.fork()
        if pid == 0:
            os.setuid(users[0])
            os.execv("/bin/sleep", ["sleep", "60"])
        return pid

    pid = run_as()
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        pass
    with pytest.raises(DriverError):
        claim(tmp_path / "next")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert claim(tmp_path / "next") == users[0]
