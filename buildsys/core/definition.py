"""A workflow file once it is decoded: events, jobs and steps as the file has them, nothing evaluated.

Texts that may hold `${{ }}` are `Template`s (see `core.expressions.parse_template`) and `if`s are kept as they are
written (`parse_condition`); both were parsed and checked when the file was decoded. All of it is stored as JSON.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Template = str
"""A text with any number of `${{ }}` in it."""

Tree = Any
"""None, a boolean, a number, a `Template`, a list or a mapping of trees."""

Switch = bool | Template
Amount = float | Template
Environment = dict[str, Template] | Template
"""Variables, or one expression whose value is all of them."""


class Script(msgspec.Struct, frozen=True, kw_only=True, tag="script"):
    """`shell` and `working_directory` are None where the job's defaults hold."""

    run: Template
    shell: Template | None = None
    working_directory: Template | None = None


class Uses(msgspec.Struct, frozen=True, kw_only=True, tag="uses"):
    """An action: `./PATH` in the workspace, or `OWNER/NAME[/PATH]@REF`."""

    uses: str
    inputs: dict[str, Template] = {}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a job or of a composite action; `condition` is its `if`, empty where it has none."""

    action: Script | Uses
    id: str | None = None
    name: Template | None = None
    condition: str = ""
    env: Environment = {}
    continue_on_error: Switch = False
    timeout_minutes: Amount | None = None


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """For a registry."""

    username: Template
    password: Template


class ImageBuild(msgspec.Struct, frozen=True, kw_only=True):
    """An image made from the project's own files: paths relative to the workspace."""

    context: Template = "."
    dockerfile: Template = "Dockerfile"
    target: Template | None = None
    arguments: dict[str, Template] = {}


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """The container of a job, or of a service; it has an `image` or is built."""

    image: Template | None = None
    build: ImageBuild | None = None
    credentials: Credentials | None = None
    env: Environment = {}
    ports: tuple[Template, ...] = ()
    volumes: tuple[Template, ...] = ()
    options: Template = ""


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """`matrix` is a mapping of axes with `include` and `exclude`, or an expression for it or for a part of it."""

    matrix: Tree = None
    fail_fast: Switch = True
    max_parallel: Amount | None = None


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    """`queue` says whether only the newest may wait for the group (`single`), or many."""

    group: Template
    cancel_in_progress: Switch = False
    queue: Literal["single", "max"] = "single"


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """`defaults.run` of a workflow or a job."""

    shell: Template | None = None
    working_directory: Template | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A reusable workflow in place of steps; `secrets` None passes all on (`inherit`)."""

    uses: str
    inputs: dict[str, Tree] = {}
    secrets: dict[str, Template] | None = {}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as written: it has `steps`, or a `call`. `container` may be an expression for an image's name.

    `group` is the group of runners that `runs-on` asks for.
    """

    id: str
    name: Template | None = None
    needs: tuple[str, ...] = ()
    condition: str = ""
    runs_on: tuple[Template, ...] = ()
    group: Template | None = None
    env: Environment = {}
    defaults: Defaults = Defaults()
    timeout_minutes: Amount | None = None
    continue_on_error: Switch = False
    concurrency: Concurrency | None = None
    outputs: dict[str, Template] = {}
    permissions: dict[str, str] | None = None
    environment: Template | None = None
    container: Container | None = None
    services: dict[str, Container] = {}
    strategy: Strategy = Strategy()
    steps: tuple[Step, ...] = ()
    call: Call | None = None


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """An input of `workflow_dispatch`, `workflow_call` or an action (whose inputs are strings)."""

    type: Literal["string", "boolean", "number", "choice", "environment"] = "string"
    description: str = ""
    required: bool = False
    default: Tree = None
    options: tuple[str, ...] = ()


class CallInterface(msgspec.Struct, frozen=True, kw_only=True):
    """`on.workflow_call`; `secrets` says of each whether it is required."""

    inputs: dict[str, Input] = {}
    outputs: dict[str, Template] = {}
    secrets: dict[str, bool] = {}


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of an event; None is no such filter. In `X`, a pattern with `!` in front excludes again.

    `workflows` are those, by name, whose runs `workflow_run` follows. Of `payload`, conditions on what the forge sent,
    one must hold; an empty one does.
    """

    branches: tuple[str, ...] | None = None
    branches_ignore: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    tags_ignore: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    paths_ignore: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    workflows: tuple[str, ...] | None = None
    payload: tuple[str, ...] | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A cron's five fields, and the IANA time zone whose clock they are read by."""

    cron: str
    timezone: str = "UTC"


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """`on`: the events by name, each with its filter, in the file's order; `schedules` as they are written."""

    filters: dict[str, Filter] = {}
    schedules: tuple[Schedule, ...] = ()
    dispatch: dict[str, Input] = {}
    call: CallInterface | None = None


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """A file: `path` is where it is in the repository. Jobs stand in the file's order."""

    path: str
    name: str
    on: Events
    jobs: dict[str, Job]
    run_name: Template | None = None
    env: Environment = {}
    defaults: Defaults = Defaults()
    concurrency: Concurrency | None = None
    permissions: dict[str, str] | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An action's file; `outputs` are templates over `steps` and `inputs`. Of another kind than composite, no steps."""

    name: str
    steps: tuple[Step, ...]
    using: str = "composite"
    inputs: dict[str, Input] = {}
    outputs: dict[str, Template] = {}
