"""A job's steps in a real container of the process driver, without a runner around them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from msgspec.structs import replace
from runner_orchestrator import assignment

from buildsys.adapters.process import ProcessDriver, jobs_folder
from buildsys.core.assignment import Source
from buildsys.core.build import Outcome
from buildsys.core.definition import Script, Step, Uses
from buildsys.core.driver import ContainerSpec
from buildsys.core.planned import PlannedJob
from buildsys.core.workflow_file import decode_workflow
from buildsys.runner.arrivals import Arrivals
from buildsys.runner.container import JobContainer
from buildsys.runner.folder import JobFolder
from buildsys.runner.job_source import JobSource
from buildsys.runner.journal import Begun, Ended, Entry, Journal
from buildsys.runner.step_run import JobSteps
from buildsys.runner.step_scope import situation

GITHUB = {
    "repository": "octo/hello",
    "sha": "f" * 40,
    "ref": "refs/heads/main",
    "ref_name": "main",
    "event_name": "push",
    "event": {"head_commit": {"message": "a $(touch owned) `touch owned`"}},
}
CONTEXTS: dict[str, Any] = {
    "github": GITHUB,
    "needs": {"before": {"result": "success", "outputs": {"tag": "v1"}}},
    "strategy": {},
    "matrix": {"os": "linux"},
    "vars": {"REGION": "north"},
    "inputs": {},
    "buildsys": {"build_id": "1"},
}
LOG_LIMIT = 1 << 20


def job(yaml: str, **fields: Any) -> PlannedJob:
    """The first job of a workflow, as it would be planned; the text is what stands below `jobs.build`."""
    indented = "".join(f"    {line}\n" for line in yaml.splitlines())
    text = f"on: push\njobs:\n  build:\n    runs-on: linux\n{indented}"
    defined = decode_workflow(text, file="ci.yml").jobs["build"]
    whole = {
        "id": "build",
        "name": "build",
        "runs_on": ("linux",),
        "contexts": CONTEXTS,
        "steps": defined.steps,
        "environments": (defined.env,),
        "defaults": defined.defaults,
        "outputs": defined.outputs,
    }
    return PlannedJob(**{**whole, **fields})


def steps(*scripts: str) -> PlannedJob:
    """A job of steps with an id each, `s1`, `s2`…; they run whatever happened before."""
    made = tuple(
        Step(action=Script(run=script), id=f"s{number}", condition="always()")
        for number, script in enumerate(scripts, 1)
    )
    return PlannedJob(id="build", name="build", runs_on=("linux",), contexts=CONTEXTS, steps=made)


def uses(path: str, **inputs: str) -> Step:
    return Step(action=Uses(uses=path, inputs=inputs), id="used")


class StepsBench:
    """One job: its folder, container and journal; `files` go into the workspace before the first step.

    `source` is what checkouts of other revisions are of.
    """

    def __init__(
        self, folder: Path, planned: PlannedJob, files: dict[str, str] | None = None, *, source: Source | None = None
    ) -> None:
        self.installation = f"test{uuid4().hex[:12]}"
        self.driver = ProcessDriver(state=folder / "state")
        self.arrivals = Arrivals()
        jobs = jobs_folder(folder / "jobs", installation=self.installation)
        jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = JobFolder(jobs=jobs, assignment=uuid4(), arrivals=self.arrivals)
        self.planned = planned
        self.files = files or {}
        self.source = source
        self.secrets = {"TOKEN": "hunter2hunter2"}
        self.grace = 2.0
        self.told: list[Entry] = []

    async def __aenter__(self) -> Self:
        await self.arrivals.__aenter__()
        self.folder.claim("runner")
        self.folder.create()
        for name, content in self.files.items():
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for folder in self.workspace.rglob("*"):
            folder.chmod(0o777)
        self.spec = ContainerSpec(name=f"buildsys-{self.installation}", folder=self.folder.path, lifetime=60.0)
        self.container = JobContainer(driver=self.driver, spec=self.spec, folder=self.folder)
        await self.container.start(self.spec, lambda _: None)
        self.life()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.journal.close()
        self.steps.close()
        await self.container.clear()
        await self.driver.close()
        await self.arrivals.__aexit__(kind, error, trace)
        self.folder.private.parent.rmdir()

    @property
    def workspace(self) -> Path:
        return self.folder.path / "workspace"

    def life(self) -> JobSteps:
        """The steps as a runner that was started again has them: from what is on the disk."""
        given = {
            "GITHUB_SHA": GITHUB["sha"],
            "GITHUB_REPOSITORY": "octo/hello",
            "BUILDSYS_COMMIT": "c0",
            "BUILD_ID": "b1",
        }
        offered = assignment(job=self.planned, env=given, named_secrets=self.secrets, grace=self.grace)
        found = situation(replace(offered, log_limit=LOG_LIMIT), root=self.driver.root(self.spec), runner="tester")
        self.journal = Journal(self.folder.private / "journal")
        self.steps = JobSteps(
            situation=found,
            folder=self.folder,
            container=self.container,
            journal=self.journal,
            tell=self.told.append,
            source=JobSource(source=self.source, private=self.folder.private, allow_local=True),
        )
        return self.steps

    def log(self, number: int = 1) -> str:
        """What the step printed, and what the runner had to say."""
        printed = b""
        if (file := self.folder.path / "steps" / str(number) / "log").exists():
            end = self.folder.log_end(number)
            printed = file.read_bytes().partition(end or b"\0nothing")[0]
        notes = self.folder.notes(number)
        return printed.decode() + (notes.text if notes else "")

    def ended(self, key: int | str) -> Ended:
        return self.journal.ended[str(key)]

    def begun(self, key: int | str) -> Begun:
        return self.journal.begun[str(key)]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {key: ended.outcome for key, ended in self.journal.ended.items()}
