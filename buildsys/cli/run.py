"""`buildsys run`: workflows of the current folder, run here as they would be anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import click

from buildsys.cli.program import INTERRUPTED, USAGE
from buildsys.cli.terminal import Terminal, plain
from buildsys.errors import BuildsysError, first_error

if TYPE_CHECKING:
    from buildsys.config import Config
    from buildsys.core.definition import Workflow
    from buildsys.core.events import Event
    from buildsys.local_choice import Chosen, Folder
    from buildsys.objects.build_life import BuildLife
    from buildsys.working_tree import WorkingTree

HEEDED = ("DOCKER_HOST", "DEFAULT_IMAGE", "IMAGES", "LABELS", "MEMORY", "CPUS", "PIDS", "GRACE", "LOG_LIMIT")
"""The settings of the environment that concern a run too, without their `BUILDSYS_`."""


@click.command()
@click.argument("workflow", required=False)
@click.option("--job", "-j", "jobs", multiple=True, metavar="ID", help="Run this job, and those that it needs.")
@click.option("--event", "-e", metavar="NAME", help="What happened; else push, or what the one workflow runs on.")
@click.option("--payload", type=click.File("rb"), metavar="FILE", help="JSON: what github.event must say (- is stdin).")
@click.option("--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of workflow_dispatch.")
@click.option("--secret", "-s", "secrets", multiple=True, metavar="NAME[=VALUE]", help="A secret; from $NAME.")
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable: vars.NAME.")
@click.option(
    "--driver",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="What isolates jobs; auto is Docker where an engine answers, else processes.",
)
@click.option(
    "--image", "images", multiple=True, metavar="[LABEL=]IMAGE", help="The image for a runs-on label, or all."
)
@click.option("--trusted", is_flag=True, help="Let containers reach out to this machine: volumes, privileged options.")
@click.option("--jobs", "slots", type=click.IntRange(1), metavar="N", help="Jobs at a time; else the number of CPUs.")
@click.option("--list", "-l", "listing", is_flag=True, help="Show workflows and jobs, and run nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Keep the output of all steps on the terminal.")
@click.option("--json", "as_json", is_flag=True, help="Tell events as lines of JSON; the last one is the whole.")
def run(workflow: str | None, listing: bool, as_json: bool, **options: Any) -> int:
    """Run the workflows of this folder, as it is now, on this machine.

    WORKFLOW is a file, or the name of a workflow. Without it: those that the event starts. Built is what is there,
    committed or not, but for files that git ignores; the folder itself is not written to. No server is needed.

    On a terminal the output of a step stays where it failed. In a pipe, or with --verbose, all of it stays.
    Ctrl-C cancels; a second one ends everything at once. Either way no container and no process is left.

    A secret's value is better not on the command line, where others can read it: --secret NAME takes it from the
    variable NAME. Its value shows as ***.

    --trusted is for workflows that you have read: their containers may have folders of this machine as volumes, and
    options such as --privileged, and with these can do all that the engine can.

    The exit code is 0 success, 1 failed, 2 nothing could be run as it was asked for, 3 errored, which is not the
    workflow's fault, 130 after Ctrl-C.

    \b
    Examples:
      buildsys run
      buildsys run --list
      buildsys run ci --job test
      buildsys run release.yml --event workflow_dispatch --input level=debug --secret TOKEN
      buildsys run --event pull_request --payload pull.json --driver process
      buildsys run --image ubuntu-22.04=node:22 --var REGION=eu --jobs 4
    """
    terminal = Terminal(json=as_json, environ=os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="buildsys-run-") as name:
            return _Command(terminal, Path(name), **options).run(workflow, listing=listing)
    except BuildsysError as error:
        from buildsys.cli.run_end import ERRORED

        click.echo(f"buildsys: {plain(error)}", err=True)
        return USAGE if error.status < 500 else ERRORED


class _Command:
    """One run as it was asked for."""

    def __init__(self, terminal: Terminal, folder: Path, **options: Any) -> None:
        self._terminal = terminal
        self._folder = folder
        self._options = options

    def run(self, given: str | None, *, listing: bool) -> int:
        from buildsys.local_choice import Folder
        from buildsys.working_tree import root_of

        here = Path.cwd()
        root = root_of(here)
        folder = Folder(root)
        paths = (folder.named(given, here=here),) if given is not None else folder.paths
        if not paths:
            raise click.UsageError(
                f"There is no workflow in {root}: no .buildsys.yml, .buildsys/*.yml or .github/workflows/*.yml. "
                "Name a file, or go to a repository's folder."
            )
        if listing:
            from buildsys.cli.run_list import list_workflows

            return list_workflows(self._terminal, folder, paths)
        return self._run(root, folder, paths)

    def _run(self, root: Path, folder: Folder, paths: Sequence[str]) -> int:
        from buildsys.cli.run_options import named_values
        from buildsys.local_choice import check_event
        from buildsys.local_run import check_secrets, plan_locally
        from buildsys.objects.build_life import BuildLife
        from buildsys.working_tree import read_working_tree

        if self._options["event"] is not None:
            check_event(self._options["event"])
        secrets = named_values(self._options["secrets"], "secret", os.environ)
        variables = named_values(self._options["variables"], "variable", os.environ)
        config = self._config()
        if self._has_errors([Path(os.path.relpath(root / path)) for path in paths]):
            return USAGE
        tree = read_working_tree(root, self._folder)
        chosen = self._choose(folder, [found for path in paths if (found := folder.find(path))], tree)
        trusted = self._options["trusted"]
        plans = [
            plan_locally(each, tree, actor=_user(), variables=variables, config=config, trusted=trusted)
            for each in chosen
        ]
        check_secrets(plans, secrets)
        builds = [BuildLife.of_plan(UUID(plan.contexts["buildsys"]["build_id"]), plan) for plan in plans]
        self._introduce(tree, chosen)
        return self._build(builds, tree, secrets, config)

    def _has_errors(self, files: Sequence[Path]) -> bool:
        """Whether any of the workflows, or of what they use, is wrong; then it is shown where."""
        from buildsys.cli.lint import show
        from buildsys.lint import lint

        linted = lint(files)
        errors = [finding for finding in linted.findings if finding.severity == "error"]
        if errors:
            show(self._terminal, linted, errors)
        return bool(errors)

    def _choose(self, folder: Folder, candidates: Sequence[Workflow], tree: WorkingTree) -> tuple[Chosen, ...]:
        from buildsys.cli.pairs import pairs
        from buildsys.cli.run_options import payload
        from buildsys.local_choice import choose
        from buildsys.local_event import local_event

        said: IO[bytes] | None = self._options["payload"]
        given, inputs = payload(said), pairs(self._options["inputs"], "--input")

        def make_event(name: str, workflow: Workflow) -> Event:
            cron = next((schedule.cron for schedule in workflow.on.schedules), None)
            return local_event(name, tree, actor=_user(), given=given, inputs=inputs, cron=cron)

        return choose(
            candidates,
            event=self._options["event"],
            jobs=self._options["jobs"],
            has_inputs=bool(inputs),
            make_event=make_event,
            find=folder.find,
        )

    def _config(self) -> Config:
        from buildsys.cli.run_options import images
        from buildsys.config import Config

        heeded = {f"BUILDSYS_{name}" for name in HEEDED}
        default, by_label = images(self._options["images"])
        given = {"data_dir": self._folder, "driver": self._options["driver"], "slots": self._options["slots"]}
        return Config.load(
            {**given, "default_image": default, "images": by_label or None},
            {key: value for key, value in os.environ.items() if key in heeded},
        )

    def _introduce(self, tree: WorkingTree, chosen: Sequence[Chosen]) -> None:
        if self._terminal.json:
            return
        state = "with changes" if tree.head and tree.is_changed else "" if tree.head else "of no commit yet"
        commit = (tree.head or tree.commit)[:10]
        for each in chosen:
            what = (each.workflow.path, each.event.name, tree.branch, f"{commit} {state}".strip())
            self._terminal.say(f"● {' · '.join(map(plain, what))}")
            if each.note is not None:
                self._terminal.note(f"The event by itself would not start it: {plain(each.note)}", color="yellow")
        for name in tree.left_out:
            self._terminal.note(f"{plain(name)} is a repository of its own, and left out", color="yellow")

    def _build(self, builds: list[BuildLife], tree: WorkingTree, secrets: dict[str, str], config: Config) -> int:
        from buildsys.cli.run_end import exit_code, tell_end
        from buildsys.cli.run_json import as_json, tell_json
        from buildsys.cli.run_output import Narrator
        from buildsys.local_run import LocalRun, Orders
        from buildsys.logging import configure

        configure("auto", "warning", sys.stderr)
        terminal, verbose = self._terminal, self._options["verbose"]
        folds = terminal.interactive and not verbose
        live = folds and os.environ.get("TERM") != "dumb"
        narrator = Narrator(terminal, folder=self._folder, folds=folds, live=live, verbose=verbose)
        narrator.introduce(builds)
        tell = partial(tell_json, terminal) if terminal.json else narrator.tell
        orders = Orders(tell=tell, say=narrator.screen.note)
        local = LocalRun(builds, tree=tree, folder=self._folder, config=config, secrets=secrets, orders=orders)
        began = time.monotonic()

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                drawing = group.create_task(narrator.screen.keep_drawing())
                try:
                    await local.run()
                finally:
                    drawing.cancel()

        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(run())
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            narrator.close()
        seconds = time.monotonic() - began
        if terminal.json:
            terminal.answer(as_json(builds, seconds))
        elif all(life.is_stopped for life in builds):
            tell_end(terminal, builds, narrator, seconds)
        return INTERRUPTED if local.interrupted else exit_code(builds)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())
