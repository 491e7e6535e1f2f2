"""A job's steps, one after the other, and within a composite action its steps.

It is played from the beginning in every life of the runner, and again once the job is cut short. What the journal has
is not decided again; what has begun goes on in the middle. So a cancel is nothing special: the steps are played once
more, now with `cancelled()` true; the step that runs is ended, and of those behind it the ones whose `if` says so run.

Source of the rules: "Workflow syntax", "Metadata syntax" and "Status check functions" in GitHub's references; where
they are silent, what GitHub's published runner does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TypeVar

from msgspec.structs import replace

from buildsys.core.build import Outcome
from buildsys.core.expressions import ExpressionError
from buildsys.errors import BuildsysError, DriverError, SourceError
from buildsys.runner.container import JobContainer
from buildsys.runner.folder import JobFolder
from buildsys.runner.hash_files import FileHasher
from buildsys.runner.job_contexts import WORDS, file_properties, text, told
from buildsys.runner.job_source import JobSource
from buildsys.runner.journal import FIRST_WITHIN, Begun, Compose, Ended, Entry, Journal, Run, Say
from buildsys.runner.local_actions import STEP_CONTEXTS
from buildsys.runner.pace import Pace
from buildsys.runner.step_effects import MAX_OUTPUTS, Room, prepended, read_effects, size
from buildsys.runner.step_preparation import Around, Prepared, Status, prepare, tolerates
from buildsys.runner.step_scope import Scope, Situation, action_name

INSPECT_EVERY = 1.0
"""Seconds between two looks at a container whose step is silent about its end."""

DEEPEST = 10
"""Actions within one another, as on GitHub."""

MOST_WITHIN = 1000
"""Steps within a job's actions."""

NOT_STARTED = 0.5
"""Seconds after which a step that was to start before a cancel, and has not, is taken not to."""


_Entry = TypeVar("_Entry", Begun, Ended)


class Overrun(BuildsysError):
    """A step, or what it began, went on after it was killed."""


class JobSteps:
    """Runs the steps of one job in its container. Whatever begins or ends is in the journal, then told to `tell`."""

    def __init__(
        self,
        *,
        situation: Situation,
        folder: JobFolder,
        container: JobContainer,
        journal: Journal,
        tell: Callable[[Entry], None],
        source: JobSource,
    ) -> None:
        self._situation = situation
        self._folder = folder
        self._container = container
        self._journal = journal
        self._tell = tell
        self._source = source
        place = situation.place
        self._hasher = FileHasher(folder=folder.path / "workspace", seen_at=PurePosixPath(place.workspace))
        self._cut: Outcome | None = None
        self._top = self._job_scope()

    async def run(self, *, cut: Outcome | None = None) -> bool:
        """Run what has not run; whether the job failed by what its steps did.

        With `cut`, CANCELED or TIMED_OUT, the step that runs is asked to end, gets that outcome, and behind it only
        those run that do so after a cancel. Raises `DriverError` for a lost container, and `Overrun`.
        """
        self._cut = cut
        self._top = self._job_scope()
        await self._run_all(self._top)
        return self._top.failed

    def outputs(self) -> dict[str, str]:
        """The job's outputs, as far as its steps have run. Raises `ExpressionError`."""
        around = self._around(self._top)
        contexts = {**around.contexts, "env": around.env}
        outputs = {}
        for name, template in self._situation.job.outputs.items():
            with told(f"the job's output {name}"):
                outputs[name] = text(template, contexts, around.status)
        return outputs

    def close(self) -> None:
        """End what is going on in threads."""
        self._hasher.stop()

    def _job_scope(self) -> Scope:
        job = self._situation.job
        return Scope(steps=job.steps, contexts=self._situation.contexts, defaults=job.defaults)

    async def _run_all(self, scope: Scope) -> None:
        for index, step in enumerate(scope.steps):
            key = f"{scope.prefix}{index + 1}"
            ended = self._journal.ended.get(key) or await self._run_step(key, index, scope)
            scope.add(step, ended)

    async def _run_step(self, key: str, index: int, scope: Scope) -> Ended:
        begun = self._journal.begun.get(key)
        resumed = begun is not None
        if begun is None:
            begun = await self._begin(key, index, scope)
        if begun is None:
            number = None if scope.parent is not None else index + 1
            return self._write(Ended(key=key, number=number, outcome=Outcome.SKIPPED, at=_now()))
        lines: list[str] = []
        match begun.work:
            case Run():
                ended = await self._run_process(begun, lines, resumed=resumed)
            case Compose() as action:
                ended = await self._run_action(begun, action, index, scope, resumed=resumed)
            case Say() as work:
                lines += work.lines
                ended = _ended(begun, Outcome.FAILED if work.failed else Outcome.SUCCESS, outputs=work.outputs)
        if ended.outcome is Outcome.FAILED:
            ended = replace(ended, tolerated=self._tolerates(begun, scope, index, lines))
        if lines and not isinstance(begun.work, Compose):
            await asyncio.to_thread(self._add_notes, begun.number, lines)
        return self._write(ended)

    async def _begin(self, key: str, index: int, scope: Scope) -> Begun | None:
        """Decide what the step does, and write it down; None where it is skipped."""
        number = index + 1 if scope.parent is None else self._journal.next_within()
        around = self._around(scope, index, number)
        step = scope.steps[index]
        prepared = await asyncio.to_thread(prepare, step, around, number=number)
        if prepared is None:
            return None
        if number >= FIRST_WITHIN + MOST_WITHIN:
            prepared = _refused(prepared, f"a job runs at most {MOST_WITHIN:,} steps within its actions")
        elif isinstance(prepared.work, Compose) and scope.depth >= DEEPEST:
            prepared = _refused(prepared, f"actions are at most {DEEPEST} deep within one another")
        now = _now()
        until = scope.until
        if prepared.minutes is not None:
            until = min(now + timedelta(minutes=prepared.minutes), until or datetime.max.replace(tzinfo=UTC))
        begun = Begun(
            key=key,
            number=number,
            parent=scope.parent,
            name=prepared.name,
            work=prepared.work,
            env=prepared.env,
            at=now,
            until=until,
        )
        if isinstance(prepared.work, Compose) and prepared.work.notes:
            self._add_notes(number, prepared.work.notes)
        self._write(begun)
        return begun

    async def _run_process(self, begun: Begun, lines: list[str], *, resumed: bool) -> Ended:
        assert isinstance(begun.work, Run)
        if resumed and self._cut is not None:
            return await self._end_process(begun, self._cut, lines)
        if not self._folder.is_started(begun.number):
            try:
                await self._add_step(begun, begun.work)
            except SourceError as error:
                lines.append(f"buildsys: error: {error}")
                return _ended(begun, Outcome.FAILED)
        status = await self._status(begun)
        if status is None:
            lines.append("buildsys: error: the step's time limit was reached")
            return await self._end_process(begun, Outcome.FAILED, lines)
        return await self._left(begun, Outcome.FAILED if status else Outcome.SUCCESS, lines)

    async def _add_step(self, begun: Begun, work: Run) -> None:
        """Have all that the step needs in its folder. Raises `SourceError` for what cannot be fetched (in time)."""
        left = None if begun.until is None else max((begun.until - _now()).total_seconds(), 0)
        try:
            async with asyncio.timeout(left):
                fetched = work.fetch and await self._source.revision(work.fetch)
        except TimeoutError:
            raise SourceError("the step's time limit was reached") from None
        try:
            self._folder.add_step(begun.number, work.program, log_limit=self._situation.log_limit)
            if fetched:
                self._folder.hand_over(begun.number, fetched)
        except OSError as error:
            raise DriverError(f"the job changed the folder of its steps: {error.strerror}") from error

    async def _status(self, begun: Begun) -> int | None:
        """Have the step run, unless it was, and wait for its exit status; None where its time is up before."""
        with self._folder.arrival(begun.number) as arrived:
            return await self._status_by(begun, arrived)

    async def _status_by(self, begun: Begun, arrived: asyncio.Event) -> int | None:
        step, until = begun.number, begun.until
        pace = Pace()
        told = float("-inf")
        looked = time.monotonic()
        while (status := self._folder.status(step)) is None:
            if until is not None and _now() >= until:
                return None
            now = time.monotonic()
            if now - told >= INSPECT_EVERY and not self._folder.is_started(step) and self._folder.start(step):
                told = now
            if now - looked >= INSPECT_EVERY:
                looked = now
                lost = await self._container.lost()
                if lost is not None and (status := self._folder.status(step)) is None:
                    raise DriverError(f"container lost: {lost}")
            await pace.wait(arrived)
        return status

    async def _end_process(self, begun: Begun, outcome: Outcome, lines: list[str]) -> Ended:
        """Ask a step to end that is cut short, or whose time is up, and leave nothing of it."""
        number = begun.number
        patience = time.monotonic() + NOT_STARTED
        pace = Pace()
        while not self._folder.is_started(number) and time.monotonic() < patience:
            await pace.wait()
        if not self._folder.is_started(number):
            return _ended(begun, outcome)
        await self._container.terminate(number, grace=self._situation.grace)
        if self._folder.status(number) is None:
            lines.append(f"buildsys: the step did not end within {self._situation.grace:g} s of SIGTERM: it is killed")
        if not await self._container.kill(number):
            raise Overrun(f"{begun.name}: the step went on after it was killed")
        return await self._left(begun, outcome, lines)

    async def _left(self, begun: Begun, outcome: Outcome, lines: list[str]) -> Ended:
        """The end of a step whose process has ended, with what it left for the others."""
        assert isinstance(begun.work, Run)
        effects = await asyncio.to_thread(
            read_effects, self._folder, begun.number, fixed=self._situation.fixed, taken=self._taken()
        )
        lines += [*begun.work.notes, *effects.notes]
        if effects.problems and outcome is Outcome.SUCCESS:
            outcome = Outcome.FAILED
        ended = _ended(begun, outcome, outputs={**begun.work.outputs, **effects.outputs})
        return replace(
            ended,
            exit_code=self._folder.status(begun.number),
            env=effects.env,
            paths=effects.paths,
            summary=effects.summary,
        )

    async def _run_action(self, begun: Begun, work: Compose, index: int, scope: Scope, *, resumed: bool) -> Ended:
        """An action's steps, each a step of the job, with `steps` and `inputs` of their own."""
        inner = self._action_scope(begun, work, index, scope)
        await self._run_all(inner)
        around = self._around(inner)
        contexts = {**around.contexts, "env": around.env}
        outputs: dict[str, str] = {}
        try:
            for name, template in work.action.outputs.items():
                outputs[name] = text(template, contexts, around.status)
        except ExpressionError as error:
            self._say_within(begun, f"the action's outputs: {error}")
            return _ended(begun, Outcome.FAILED)
        if size(outputs) + self._taken().outputs > MAX_OUTPUTS:
            self._say_within(begun, f"the job's steps have more than {MAX_OUTPUTS >> 20} MiB of outputs in all")
            return _ended(begun, Outcome.FAILED)
        outcome = Outcome.FAILED if inner.failed else Outcome.SUCCESS
        return _ended(begun, self._cut if self._cut and resumed else outcome, outputs=outputs)

    def _action_scope(self, begun: Begun, work: Compose, index: int, scope: Scope) -> Scope:
        github = {
            **scope.contexts["github"],
            "action": action_name(scope.steps, index),
            "action_path": str(self._situation.place.workspace / work.path),
        }
        known = {name: value for name, value in scope.contexts.items() if name in STEP_CONTEXTS}
        return Scope(
            steps=work.action.steps,
            contexts={**known, "github": github, "inputs": work.inputs},
            prefix=f"{begun.key}.",
            parent=begun.number,
            env={**scope.env, **begun.env},
            until=begun.until,
            depth=scope.depth + 1,
        )

    def _say_within(self, parent: Begun, message: str) -> None:
        """A step of the runner's own behind those of an action, whose own log is over since the first of them."""
        key = f"{parent.key}.end"
        if key in self._journal.ended:
            return
        begun = self._journal.begun.get(key)
        if begun is None:
            work = Say(lines=(), failed=True)
            number = self._journal.next_within()
            begun = Begun(key=key, number=number, parent=parent.number, name="Outputs", work=work, at=_now())
            self._add_notes(number, [f"buildsys: error: {message}"])
            self._write(begun)
        self._write(_ended(begun, Outcome.FAILED))

    def _around(self, scope: Scope, index: int | None = None, number: int | None = None) -> Around:
        situation = self._situation
        github = scope.contexts.get("github", {})
        if index is not None and "action_path" not in github:
            github = {**github, "action": action_name(scope.steps, index)}
        if number is not None:
            github = {**github, **file_properties(situation.place.files(number))}
        if scope.parent is not None:
            github = {**github, "action_status": self._status_of(scope)}
        status = Status(failed=scope.failed, canceled=self._cut is not None, hasher=self._hasher)
        fixed = dict(situation.fixed)
        for name in ("action", "action_path"):
            if github.get(name):
                fixed[f"GITHUB_{name.upper()}"] = str(github[name])
        return Around(
            contexts={
                **scope.contexts,
                "github": github,
                "job": {**situation.contexts.get("job", {}), "status": self._status_of(self._top)},
                "steps": scope.results,
            },
            env={**situation.env, **self._said(), **scope.env},
            given=situation.given,
            fixed=fixed,
            paths=prepended(path for ended in self._journal.ended.values() for path in ended.paths),
            status=status,
            defaults=scope.defaults,
            place=situation.place,
            workspace=self._folder.path / "workspace",
            untouched=not self._journal.has_run,
        )

    def _said(self) -> dict[str, str]:
        """The variables that steps have set for those behind them, within actions, too."""
        said: dict[str, str] = {}
        for ended in self._journal.ended.values():
            said.update(ended.env)
        return said

    def _status_of(self, scope: Scope) -> str:
        if self._cut is not None:
            return WORDS[self._cut]
        return WORDS[Outcome.FAILED if scope.failed else Outcome.SUCCESS]

    def _taken(self) -> Room:
        ended = self._journal.ended.values()
        return Room(
            environment=sum(size(end.env) for end in ended),
            outputs=sum(size(end.outputs) for end in ended),
            paths=sum(len(end.paths) for end in ended),
        )

    def _tolerates(self, begun: Begun, scope: Scope, index: int, lines: list[str]) -> bool:
        try:
            return tolerates(scope.steps[index], self._around(scope, index, begun.number), begun.env)
        except ExpressionError as error:
            lines.append(f"buildsys: error: continue-on-error: {error}")
            return False

    def _add_notes(self, number: int, lines: Sequence[str]) -> None:
        self._folder.add_notes(number, lines, log_limit=self._situation.log_limit)

    def _write(self, entry: _Entry) -> _Entry:
        self._journal.append(entry)
        self._tell(entry)
        return entry


def _now() -> datetime:
    return datetime.now(UTC)


def _ended(begun: Begun, outcome: Outcome, *, outputs: dict[str, str] | None = None) -> Ended:
    return Ended(key=begun.key, number=begun.number, outcome=outcome, at=_now(), outputs=outputs or {})


def _refused(prepared: Prepared, message: str) -> Prepared:
    return replace(prepared, work=Say(lines=(f"buildsys: error: {message}",), failed=True))
