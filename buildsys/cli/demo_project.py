"""The demo's project: a real git repository made of an example, what its steps print, and the push that builds it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from uuid import uuid4

import msgspec

import buildsys
from buildsys.core.definition import Environment, Script
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import SetupError

WORKFLOW = ".github/workflows/ci.yml"
AUTHOR = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
}
BRANCH = "main"
TITLE = "Say hello"


class DemoProject:
    """A repository with one commit on BRANCH."""

    def __init__(self, path: Path, commit: str) -> None:
        self.path = path
        self.commit = commit

    @classmethod
    async def make(cls, path: Path) -> Self:
        """Copy the example `hello` to `path` and commit it."""
        shutil.copytree(_examples() / "hello", path)
        await _run(["git", "init", "--quiet", f"--initial-branch={BRANCH}"], path, AUTHOR)
        await _run(["git", "add", "--all"], path, AUTHOR)
        await _run(["git", "commit", "--quiet", f"--message={TITLE}"], path, AUTHOR)
        commit = await _run(["git", "rev-parse", "HEAD"], path, AUTHOR)
        return cls(path, commit.decode().strip())

    def push(self, secret: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of the delivery that GitHub would send for this commit, signed with the secret."""
        body = msgspec.json.encode(
            {
                "ref": f"refs/heads/{BRANCH}",
                "before": "0" * 40,
                "after": self.commit,
                "created": True,
                "deleted": False,
                "forced": False,
                "repository": {"full_name": "demo/hello", "clone_url": self.path.as_uri(), "default_branch": BRANCH},
                "head_commit": {"id": self.commit, "message": TITLE},
                "pusher": {"name": "demo", "email": "demo@localhost"},
            }
        )
        return {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": str(uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        }, body

    async def printed(self, folder: Path) -> dict[tuple[str, int], str]:
        """What the steps print, by job and number, found out by running their scripts here by hand, in fresh clones."""
        workflow = decode_workflow((self.path / WORKFLOW).read_bytes(), file=WORKFLOW)
        event = {"GITHUB_SHA": self.commit, "GITHUB_REF_NAME": BRANCH}
        printed = {}
        for job in workflow.jobs.values():
            clone = folder / job.id
            await _run(["git", "clone", "--quiet", str(self.path), str(clone)], folder, AUTHOR)
            for number, step in enumerate(job.steps, 1):
                if not isinstance(step.action, Script):
                    continue
                env = event | _variables(job.env) | _variables(step.env)
                output = await _run(["sh", "-e", "-c", step.action.run], clone, env)
                printed[job.id, number] = output.decode()
        return printed


def _variables(environment: Environment) -> dict[str, str]:
    """Those of the example have nothing to be evaluated."""
    return {} if isinstance(environment, str) else environment


def _examples() -> Path:
    """The examples as the wheel carries them, or those of the checkout."""
    package = Path(buildsys.__file__).parent
    return next(path for path in (package / "_examples", package.parent / "examples") if path.is_dir())


async def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> bytes:
    """The program's output, stdout and stderr in one."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C", **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError:
        raise SetupError(f"{command[0]} is not on this machine: install it. See “buildsys doctor”.") from None
    output, _ = await process.communicate()
    if process.returncode:
        raise SetupError(f"{command[0]} failed with {process.returncode}: {output.decode(errors='replace').strip()}")
    return output
