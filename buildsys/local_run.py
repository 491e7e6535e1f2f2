"""Builds of a working tree on this machine, without a server: by the same planner, runner and drivers.

All that is written is in a temporary folder, and gone with every container when `LocalRun.run` returns.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec

from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.docker_engine import engine_socket
from buildsys.adapters.process import ProcessDriver
from buildsys.adapters.process_users import jobs_folder
from buildsys.app import COMMON_LABELS
from buildsys.config import Config
from buildsys.core.assignment import Source
from buildsys.core.contexts import BuildFacts, build_contexts
from buildsys.core.driver import Driver, Limits
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.errors import ContainerAlive, DriverError, Invalid, first_error
from buildsys.local_choice import Chosen
from buildsys.local_orchestrator import LocalLimits, LocalOrchestrator, Tell
from buildsys.objects.build_life import BuildLife
from buildsys.runner import Runner, RunnerConfig
from buildsys.runner.removal import remove_tree
from buildsys.working_tree import WorkingTree

CLEARING = 90.0
"""Seconds that the removal of what jobs leave may take once all are over."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

FALLBACK = "building with plain processes instead, which isolate less (--driver docker insists on Docker)"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What is told while builds run: the log's records, and sentences about the run itself."""

    tell: Tell
    say: Callable[[str], None]


def plan_locally(
    chosen: Chosen, tree: WorkingTree, *, actor: str, variables: dict[str, str], config: Config, trusted: bool
) -> BuildPlan:
    """The plan of a build that is no project's: it is the first of its number, and called after the folder.

    The containers of one that is `trusted` may reach out to this machine.
    """
    facts = BuildFacts(
        build_id=str(uuid4()),
        build_number=1,
        project=tree.root.name or "root",
        repository=tree.address.repository,
        workflow=chosen.workflow.name,
        workflow_path=chosen.workflow.path,
        actor=actor,
        server_url=tree.address.server,
    )
    return plan_build(
        chosen.workflow,
        called=chosen.called,
        contexts=build_contexts(chosen.event, facts, inputs=chosen.inputs, variables=variables),
        settings=PlanSettings(images=config.images, image=config.default_image, trusted=trusted),
    )


def check_secrets(plans: Iterable[BuildPlan], given: Collection[str]) -> None:
    """Raise `Invalid` with the names of all secrets that jobs need and that are not given."""
    missing = sorted({name for plan in plans for name in plan.secrets.required if name not in given})
    if missing:
        options = " ".join(f"--secret {name}" for name in missing)
        what = f"the secret {missing[0]} is" if len(missing) == 1 else f"the secrets {', '.join(missing)} are"
        raise Invalid(f"{what} missing: give {options}, which takes NAME=VALUE, or NAME alone for the variable's value")


class LocalRun:
    """Runs builds once. `folder` is a new one for what is written; `config` says driver, slots and limits.

    The first Ctrl-C (or SIGTERM, SIGHUP) cancels the builds, as a server does; a second one ends them at once. Both
    return when everything is gone. `interrupted` tells of either. Where nothing can be told any more, as into a pipe
    that nobody reads, the builds are canceled too; that error is raised when everything is gone.
    """

    def __init__(
        self,
        builds: Collection[BuildLife],
        *,
        tree: WorkingTree,
        folder: Path,
        config: Config,
        secrets: dict[str, str],
        orders: Orders,
    ) -> None:
        self.interrupted = False
        self._folder = folder
        self._config = config
        self._orders = orders
        self._unheard: OSError | None = None
        self._installation = f"run-{uuid4().hex[:12]}"
        self._orchestrator = LocalOrchestrator(
            builds,
            source=Source(url=tree.url, commit=tree.commit, ref=f"refs/heads/{tree.branch}"),
            secrets=secrets,
            labels={*COMMON_LABELS, *config.images, *config.labels, "docker", "process"},
            limits=LocalLimits(grace=config.grace, log=config.log_limit),
            tell=partial(self._utter, orders.tell),
        )
        self._is_running = False

    async def run(self) -> None:
        """Run the builds to their ends. Raises `DriverError` where the driver that was asked for is not there."""
        this = asyncio.current_task()
        assert this is not None
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self._stop, this)
        try:
            async with AsyncExitStack() as stack:
                driver = await self._driver()
                stack.push_async_callback(driver.close)
                jobs = self._folder / "jobs"
                if driver.name == "process":
                    jobs = jobs_folder(jobs, installation=self._installation)
                stack.push_async_callback(asyncio.to_thread, remove_tree, jobs)
                await self._build(await stack.enter_async_context(self._runner(driver, jobs)))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            for number in STOPS:
                loop.remove_signal_handler(number)
        if self._unheard is not None:
            raise self._unheard

    async def _build(self, runner: Runner) -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(runner.run())
            self._is_running = True
            self._orchestrator.start()
            await self._orchestrator.wait()
            try:
                async with asyncio.timeout(CLEARING):
                    await runner.settle()
            except TimeoutError:
                name = f"buildsys-{self._installation}"
                raise ContainerAlive(f"not all of {name} is gone after {CLEARING:g} s: see docker ps, or ps") from None
            running.cancel()

    def _runner(self, driver: Driver, jobs: Path) -> Runner:
        config = self._config
        return Runner(
            config=RunnerConfig(
                installation=self._installation,
                data=self._folder,
                jobs=jobs,
                slots=config.slots,
                limits=Limits(memory=config.memory, cpus=config.cpus, pids=config.pids),
                allow_local_repositories=True,
            ),
            drivers=(driver,),
            orchestrator=self._orchestrator,
        )

    async def _driver(self) -> Driver:
        """The one that was asked for; else Docker where an engine answers."""
        if self._config.driver != "process":
            docker = DockerDriver(owner=self._installation, socket=engine_socket(self._config.docker_host))
            try:
                await docker.list({})
            except DriverError as error:
                await docker.close()
                if self._config.driver == "docker":
                    raise
                self._orders.say(f"{error}; {FALLBACK}")
            else:
                return docker
        return ProcessDriver(state=self._folder / "process", hidden=(self._folder,))

    def _stop(self, this: asyncio.Task[None]) -> None:
        if not self._is_running:
            this.cancel()
        elif not self.interrupted:
            self._utter(self._orders.say, "Canceling: steps are asked to end. Ctrl-C again ends them at once.")
            self._orchestrator.cancel("canceled by Ctrl-C")
        else:
            self._orchestrator.abandon("ended at once by a second Ctrl-C")
        self.interrupted = True

    def _utter(self, tell: Callable[..., None], *said: object) -> None:
        """Tell something, as long as that can be done."""
        if self._unheard is not None:
            return
        try:
            tell(*said)
        except OSError as error:
            self._unheard = error
            # Not at once: the orchestrator is telling what it has settled.
            asyncio.get_running_loop().call_soon(self._orchestrator.cancel, "canceled: its output can go nowhere")
