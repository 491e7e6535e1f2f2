"""`buildsys demo`: the whole system at work, once, on this machine, with proof."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from buildsys.cli.program import INTERRUPTED
from buildsys.cli.running import run_until_stopped
from buildsys.cli.terminal import Terminal
from buildsys.errors import DriverError, Unavailable, first_error

if TYPE_CHECKING:
    from buildsys.app import App
    from buildsys.cli.client import Client
    from buildsys.cli.demo_proof import Verdict, Witness
    from buildsys.config import Config

PULL = 120.0
"""Seconds to get an image in, where there is another way."""

NAME = "hello"
HEEDED = ("BUILDSYS_DOCKER_HOST", "BUILDSYS_DEFAULT_IMAGE")
"""The settings of the environment that concern the demo too."""


@click.command()
@click.option(
    "--driver",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="What isolates the build; auto is Docker where an engine answers and has the image, else processes.",
)
@click.option("--image", metavar="IMAGE", help="The image to build in, any with sh; else the installation's default.")
@click.option("--keep", is_flag=True, help="Go on after the build, for you to look around, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout; all else goes to stderr.")
def demo(driver: str, image: str | None, keep: bool, as_json: bool) -> int:
    """See the whole system at work, once, on this machine.

    Starts an installation in a temporary folder, makes a git repository, adds it as a project, sends a signed push to
    its webhook, shows the build live, and then compares what was seen live with history and with what the program
    prints. The exit code is 0 if all of that held. Nothing is left behind.

    \b
    Examples:
      buildsys demo
      buildsys demo --driver process --keep
    """
    terminal = Terminal(json=False, environ=os.environ)
    demonstration = Demonstration(terminal, keep=keep)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        run_until_stopped(demonstration.run(driver, image))
        terminal.say("\nEverything is stopped and removed.")
        verdict = demonstration.verdict
        if verdict is None:
            return INTERRUPTED
        terminal.say("The demo held." if verdict.held else "The demo did NOT hold.")
    if as_json:
        terminal.answer(to_builtins(verdict) | {"held": verdict.held})
    return 0 if verdict.held else 1


class Demonstration:
    """One run of the demo; `verdict` is there once the build was seen to its end and compared."""

    def __init__(self, terminal: Terminal, *, keep: bool) -> None:
        self.verdict: Verdict | None = None
        self._terminal = terminal
        self._keep = keep

    async def run(self, driver: str, image: str | None) -> None:
        from buildsys.app import App
        from buildsys.cli.client import Client
        from buildsys.logging import configure

        configure("auto", "warning", sys.stderr)
        with tempfile.TemporaryDirectory(prefix="buildsys-demo-") as name:
            folder = Path(name)
            config = await self._settings(folder, driver, image)
            self._stage(f"Starting Postgres, API, orchestrator and runner in {folder}")
            async with App(config) as app, Client(app.url, app.admin_token) as client, _failing_with(app):
                await self._show(app, client, folder, config.driver)
                if self._keep:
                    self._invite(app)
                    await asyncio.Event().wait()

    async def _settings(self, folder: Path, driver: str, image: str | None) -> Config:
        from buildsys.config import Config

        config = Config.load(
            {
                "data_dir": folder / "data",
                "listen": "127.0.0.1:0",
                "default_image": image,
                "allow_local_repositories": True,
                "time_limit": "5m",
                "driver": driver,
            },
            {key: value for key, value in os.environ.items() if key in HEEDED},
        )
        if driver == "process":
            return config
        return await self._with_docker(config)

    async def _with_docker(self, config: Config) -> Config:
        """The settings, with Docker once it has the image; with processes where it has not and that was left to us."""
        import msgspec

        from buildsys.adapters.docker import DockerDriver
        from buildsys.adapters.docker_engine import engine_socket
        from buildsys.core.driver import ContainerSpec

        self._stage(f"Looking for a Docker engine with the image {config.default_image}")
        try:
            async with asyncio.timeout(PULL if config.driver == "auto" else None):
                engine = DockerDriver(owner=f"demo-{os.getpid()}", socket=engine_socket(config.docker_host))
                try:
                    wanted = ContainerSpec(name="demo", folder=Path(), lifetime=0.0, image=config.default_image)
                    await engine.prepare(wanted, lambda line: self._terminal.say(f"  {line}"))
                finally:
                    await engine.close()
            return msgspec.structs.replace(config, driver="docker")
        except (DriverError, Unavailable, TimeoutError) as error:
            if config.driver == "docker":
                raise
            self._terminal.say(f"  not to be had: {error or 'no answer in time'}")
            self._terminal.say("  building with plain processes instead, which isolate less (--driver process)")
            return msgspec.structs.replace(config, driver="process")

    async def _show(self, app: App, client: Client, folder: Path, driver: str) -> None:
        from buildsys.cli.demo_project import DemoProject
        from buildsys.cli.demo_proof import build_of

        self._stage("Making a git repository and running its steps by hand, to know what they print")
        project = await DemoProject.make(folder / NAME)
        (folder / "by hand").mkdir()
        printed = await project.printed(folder / "by hand")
        self._stage(f"Adding it as project {NAME} through the API at {app.url}")
        made = await client.post("/projects", {"name": NAME, "repository": project.path.as_uri()})
        self._stage("Sending a signed push to its webhook")
        sent = await self._deliver(app, project.push(made["webhook"]["secret"]))
        build = await build_of(client, NAME)
        witness = await self._watch(client, build)
        self._stage("Reading the log again from history, and comparing")
        self.verdict = await witness.verdict(client, build["id"], printed, driver=driver, sent=sent)
        self._report(self.verdict)

    async def _deliver(self, app: App, push: tuple[dict[str, str], bytes]) -> float:
        """Send the push as the forge would; the moment at which that began."""
        import aiohttp

        headers, body = push
        async with aiohttp.ClientSession() as forge:
            sent = time.monotonic()
            async with forge.post(f"{app.url}/hooks/github/{NAME}", data=body, headers=headers) as answer:
                took = time.monotonic() - sent
                self._terminal.say(f"  answered {answer.status} after {took * 1000:.0f} ms")
                if answer.status != 202:
                    raise Unavailable(f"the webhook was not taken: {(await answer.text())[:500]}")
        return sent

    async def _watch(self, client: Client, build: dict[str, Any]) -> Witness:
        from buildsys.cli.demo_proof import Witness
        from buildsys.cli.events import follow
        from buildsys.cli.follow import Narrator

        witness, narrator = Witness(), Narrator(self._terminal)
        narrator.introduce(build)
        async with contextlib.aclosing(follow(client, build["id"], broken=narrator.broken)) as events:
            async for event in events:
                witness.see(event)
                narrator.tell(event)
        return witness

    def _report(self, verdict: Verdict) -> None:
        say = self._terminal.say
        for each in verdict.differences:
            say(f"  {each.job}, step {each.step}: the log is NOT what was printed")
            for name in ("live", "history", "printed"):
                say(f"    {name}: {getattr(each, name)!r:.500}")
        if not verdict.unbroken:
            say("  the cursors did NOT count from 1 to the end")
        if not verdict.differences:
            say(f"  {verdict.lines} lines, the same bytes live and in history")
            say(f"  {verdict.known} of them known beforehand, and as they should be")
        say(f"  outcome                          {verdict.outcome}, by the {verdict.driver} driver")
        say(f"  duration, from queue to end      {verdict.duration:.2f} s")
        if verdict.first_line is not None:
            say(f"  webhook sent to first line seen  {verdict.first_line * 1000:.0f} ms")

    def _invite(self, app: App) -> None:
        self._stage("It goes on until Ctrl-C. Look around:")
        self._terminal.say(f"  page   {app.url}")
        self._terminal.say(f"  token  {app.admin_token}")
        self._terminal.say(f"  curl -H 'Authorization: Bearer {app.admin_token}' {app.url}/api/v1/builds")

    def _stage(self, text: str) -> None:
        self._terminal.say(click.style(f"\n== {text}", bold=True))
        sys.stdout.flush()


@contextlib.asynccontextmanager
async def _failing_with(app: App) -> AsyncIterator[None]:
    """A part of the system that fails ends the body, with the part's error."""
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(app.wait())
            yield
            watching.cancel()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
