"""A job as it is run: everything that could be told before it started is evaluated, the rest is the runner's.

BuildBuddy makes it from a `definition.Job` when the jobs that it needs are over: one for each combination of its
matrix. What may hold secrets, or is only known on the runner, stays a template: environment, credentials, steps and
outputs.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from buildsys.core.definition import Credentials, Defaults, Environment, ImageBuild, Step, Template


class PlannedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container of a job or a service; `ports` are as in `8080:80/tcp`.

    `options` are those that are allowed, each in its long form, as `--name=value` or `--name`.
    """

    image: str | None = None
    build: ImageBuild | None = None
    credentials: Credentials | None = None
    env: Environment = {}
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class ConcurrencyGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of which one holder runs at a time; `group` is in lower case, since GitHub's have no case.

    `holder` is who takes the place, within its build: a job by its id, the jobs of a called workflow by that of the
    job that calls it, empty for the whole build. What has one holder does not wait for itself. With `queue` "single" it
    takes the place of whoever waits already; with "max" it waits behind them.
    """

    group: str
    cancel_in_progress: bool = False
    queue: Literal["single", "max"] = "single"
    holder: str = ""


class PassedSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What a called workflow finds as `secrets`: templates over its caller's `secrets` and these contexts."""

    contexts: dict[str, Any]
    secrets: dict[str, Template]


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of a job, ready to be offered to runners.

    `id` is unique in the build: `test`; `test.2` for the second combination of a matrix; `deploy.test` for the job
    `test` of a workflow that the job `deploy` calls. `contexts` are `github`, `needs`, `strategy`, `matrix`, `vars`,
    `inputs` and `buildsys`; the runner adds those that are its own. `environments` are those of the workflow and of
    the job, in the order in which they are evaluated. `timeout` is in seconds.

    `secrets` are the names, in upper case, of the project's secrets that the job uses; those in `optional_secrets` may
    be missing, and are empty then. In a called workflow `passed_secrets` make the `secrets` that it sees of them: the
    outermost call first, each over what the one before it made; `GITHUB_TOKEN` is passed on by itself.

    The containers of a `trusted` job may reach out to the host, as far as they say so.
    """

    id: str
    name: str
    runs_on: tuple[str, ...]
    contexts: dict[str, Any]
    steps: tuple[Step, ...]
    container: PlannedContainer | None = None
    services: dict[str, PlannedContainer] = {}
    environments: tuple[Environment, ...] = ()
    defaults: Defaults = Defaults()
    outputs: dict[str, Template] = {}
    timeout: float | None = None
    continue_on_error: bool = False
    concurrency: tuple[ConcurrencyGroup, ...] = ()
    secrets: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()
    passed_secrets: tuple[PassedSecrets, ...] = ()
    trusted: bool = False
