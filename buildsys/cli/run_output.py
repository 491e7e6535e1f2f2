"""A run told to a person as it goes: a headline for each step, and the output that is worth reading.

On a terminal the output of a step is seen while it runs, and stays only where it failed. Into a pipe, and with
`--verbose`, all of it stays. Where there are several jobs each line begins with its job.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click

from buildsys.cli.run_lines import Line, StepLines, shown
from buildsys.cli.run_screen import Screen
from buildsys.cli.terminal import COLORS, MARKS, Terminal, harmless, plain
from buildsys.core.build import Outcome
from buildsys.core.commands import LogCommand
from buildsys.core.logs import GAP, LINES, STEP_STARTED, STEP_STOPPED, TRUNCATED, LogChange
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import JobLife

TAIL = 10
"""Lines of a running step that are seen, at most."""

WIDEST = 32
"""Characters of a job's name before its lines."""

HUES = ("cyan", "magenta", "blue", "green", "yellow")


@dataclass(slots=True)
class Running:
    """A step that runs: its last lines, and the file where all wait until it is known how it ends."""

    job: str
    name: str
    depth: int
    since: datetime
    kept: Path
    lines: StepLines = field(default_factory=StepLines)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class Narrator:
    """Tells what happens in builds. `folds`: the output of steps that succeed does not stay; it is in `folder` then."""

    def __init__(self, terminal: Terminal, *, folder: Path, folds: bool, live: bool, verbose: bool) -> None:
        self.screen = Screen(terminal, self._now if live else None)
        self.annotations: list[tuple[str, LogCommand]] = []
        self._terminal = terminal
        self._folder = folder
        self._folds = folds
        self._verbose = verbose
        self._running: dict[tuple[str, str, int], Running] = {}
        self._hues: dict[str, str] = {}
        self._several = False
        self._numbers = itertools.count(1)

    def introduce(self, builds: Sequence[BuildLife]) -> None:
        """Say nothing yet, but know whether there is more than one job."""
        self._several = sum(len(life.jobs) for life in builds) > 1

    def tell(self, life: BuildLife, change: LogChange) -> None:
        """What a build's log would say."""
        if change.job is None:
            return
        job = life.jobs[change.job]
        key = (str(life.id), change.job, change.step or 0)
        data = change.data or {}
        if change.kind == STEP_STARTED:
            self._start(key, job, data, change)
        elif change.kind == LINES and change.frame is not None:
            running = self._running[key]
            self._print(job, running, running.lines.feed(change.frame, change.commands))
        elif change.kind == STEP_STOPPED:
            self._stop(key, job, change)
        elif change.kind in (GAP, TRUNCATED):
            self._say(job, click.style(f"! {plain(data.get('reason') or change.kind)}", fg="magenta"))
        elif change.kind == "job_planned":
            self._several = True
        elif change.kind in ("job_stopped", "job_skipped"):
            self._ended(job, data)

    def close(self) -> None:
        """Draw no more."""
        self.screen.close()

    def _start(self, key: tuple[str, str, int], job: JobLife, data: dict[str, object], change: LogChange) -> None:
        step, depth = job.steps[key[2]], 0
        while step.parent is not None:
            step, depth = job.steps[step.parent], depth + 1
        kept = self._folder / f"{next(self._numbers)}.output"
        running = self._running[key] = Running(
            job=plain(job.name), name=plain(data.get("name")), depth=depth, since=change.at, kept=kept
        )
        if not self._folds:
            self._say(job, f"{'  ' * depth}{click.style(f'▸ {running.name}', bold=True)}")

    def _print(self, job: JobLife, running: Running, lines: Iterator[Line]) -> None:
        kept = []
        for line in lines:
            command = line.command
            if command is not None and command.kind == "annotation" and command.level != "debug":
                self.annotations.append((f"{running.job} / {running.name}", command))
            elif command is not None and command.level == "debug" and not self._verbose:
                continue
            text = "  " * running.depth + f"  {shown(line)}"
            if self._folds:
                running.tail.append(text)
                kept.append(f"{text}\n")
            else:
                self._say(job, text)
        if kept:
            with running.kept.open("a", encoding="utf-8") as file:
                file.writelines(kept)

    def _stop(self, key: tuple[str, str, int], job: JobLife, change: LogChange) -> None:
        step, data = job.steps[key[2]], change.data or {}
        running = self._running.pop(key, None)
        outcome = Outcome(data["outcome"])
        if running is None:
            if not self._folds or outcome != Outcome.SKIPPED:
                self._headline(job, plain(step.name), outcome, [])
            return
        self._print(job, running, running.lines.end())
        code = data.get("exit_code")
        details = [f"exit {code}"] if code else []
        details += ["the job goes on"] if step.is_tolerated else []
        took = duration((change.at - running.since).total_seconds())
        self._headline(job, "  " * running.depth + running.name, outcome, [*details, took])
        if running.kept.exists():
            if outcome not in (Outcome.SUCCESS, Outcome.SKIPPED):
                with running.kept.open(encoding="utf-8", newline="\n") as file:
                    for line in file:
                        self._say(job, line.removesuffix("\n"))
            running.kept.unlink()

    def _headline(self, job: JobLife, name: str, outcome: Outcome, details: Sequence[str]) -> None:
        inner = name.lstrip(" ")
        mark = click.style(MARKS.get(outcome, "·"), fg=COLORS.get(outcome))
        words = [*([] if outcome == Outcome.SUCCESS else [str(outcome)]), *details]
        said = click.style("  " + " · ".join(words), dim=outcome == Outcome.SUCCESS) if words else ""
        self._say(job, f"{name[: len(name) - len(inner)]}{mark} {inner}{said}")

    def _ended(self, job: JobLife, data: dict[str, object]) -> None:
        outcome = str(data.get("outcome") or Outcome.SKIPPED)
        reason = f" · {plain(data['reason'])}" if data.get("reason") else ""
        text = click.style(f"{MARKS.get(outcome, '·')} {plain(job.name)}: {outcome}{reason}", fg=COLORS.get(outcome))
        self.screen.say(text)

    def _say(self, job: JobLife, text: str) -> None:
        prefix = ""
        if self._several:
            hue = self._hues.setdefault(job.id, HUES[len(self._hues) % len(HUES)])
            prefix = click.style(f"{plain(job.name)[:WIDEST]} │ ", fg=hue)
        if self._terminal.interactive:
            text = harmless(text, color=self._terminal.color)
        self.screen.say(prefix + text)

    def _now(self, sign: str, room: int) -> Sequence[str]:
        """The steps that run, each with its last lines; those that are in it stand for one that is an action."""
        most = max(0, min(TAIL, room // max(1, len(self._running)) - 1))
        lines = []
        for running in self._running.values():
            took = duration((datetime.now(UTC) - running.since).total_seconds())
            lines.append(f"{sign} {running.job} / {'  ' * running.depth}{running.name}  {took}")
            lines += [f"    {click.unstyle(line)}" for line in list(running.tail)[-most:]] if most else []
        return lines


def duration(seconds: float) -> str:
    """As people say it: `0.4 s`, `2 m 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"
