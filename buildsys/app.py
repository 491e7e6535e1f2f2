"""The composition root: a `Config` in, a running system out. Nothing else wires anything.

api            the HTTP API, webhooks, the page
orchestrator   the durable objects
runner         pulls jobs and runs them: from this process's own orchestrator, or from another's over HTTP
"""

from __future__ import annotations

import asyncio
import hmac
import platform
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog
from aiohttp import web

from actors import ActorsError, Database, Node, SystemClock, migrate
from actors.database import TROUBLE
from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.docker_engine import engine_socket
from buildsys.adapters.git import GitReader
from buildsys.adapters.github import GitHub
from buildsys.adapters.process import ProcessDriver
from buildsys.adapters.process_users import jobs_folder
from buildsys.addresses import listen, local_url, why_unreachable
from buildsys.blob_store import open_blobs
from buildsys.config import Config
from buildsys.core.driver import Driver, Limits
from buildsys.data_folder import DataFolder
from buildsys.errors import DriverError, SetupError, Unavailable
from buildsys.namespaces import Given, Namespaces, declare_builds, declare_singletons, ensure_singletons, make_builder
from buildsys.objects.builder import Builder
from buildsys.objects.dispatcher import Dispatcher
from buildsys.objects.log_archive import LogArchive
from buildsys.objects.log_verification import LogVerification
from buildsys.postgres import EmbeddedPostgres
from buildsys.private_files import write_private
from buildsys.runner import HttpOrchestrator, Orchestrator, Runner, RunnerConfig
from buildsys.store.archives import Archives
from buildsys.store.assignments import Assignments
from buildsys.store.builds import Builds
from buildsys.store.cipher import Cipher, prove_key
from buildsys.store.deliveries import Deliveries
from buildsys.store.hints import Hints
from buildsys.store.logs import Logs
from buildsys.store.projects import Projects
from buildsys.store.queries import PACKAGES, QUERIES
from buildsys.store.secrets import Secrets, Variables
from buildsys.store.tokens import Tokens
from buildsys.web.app import Services, create_app
from buildsys.web.services import Stores, WebSettings

logger = structlog.get_logger(__name__)

COMMON_LABELS = ("linux", "ubuntu-latest", "self-hosted")
"""What workflows written for other systems commonly ask of a runner, and any of ours can give."""


class App:
    """A running installation: `async with App(config) as app`. Everything stops, in order, at the end of the block.

    `start_scheduler=False` leaves the queue to whoever rings the Scheduler. `stores` and `namespaces` are there where
    the role is api or orchestrator. Raises `SetupError` and its kin, each with the way out, where the installation
    cannot run.
    """

    stores: Stores
    namespaces: Namespaces

    def __init__(self, config: Config, *, start_scheduler: bool = True) -> None:
        self._config = config
        self._start_scheduler = start_scheduler
        self._ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.folder = stack.enter_context(
                DataFolder(self._config.data_dir, secret_key_file=self._config.secret_key_file)
            )
            if self._config.roles & {"api", "orchestrator"}:
                orchestrator: Orchestrator = await self._serve(stack)
            else:
                assert self._config.server_url is not None
                assert self._config.token is not None
                self.url = self._config.server_url
                orchestrator = await stack.enter_async_context(
                    HttpOrchestrator(url=self._config.server_url, token=self._config.token)
                )
            if "runner" in self._config.roles:
                await self._run_jobs(stack, orchestrator)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return after `stop`; raise what made a part of the system fail."""
        error = await self._ended.get()
        if error is not None:
            raise error

    def stop(self) -> None:
        """Let `wait` return."""
        self._ended.put_nowait(None)

    @property
    def admin_token(self) -> str:
        """An administrator's token, kept in the data folder: remove it there, and the next start has another."""
        return self.folder.admin_token

    @property
    def has_new_admin_token(self) -> bool:
        """Whether the administrator's token was made by this start, and nobody has seen it yet."""
        return self.folder.has_new_token

    async def _serve(self, stack: AsyncExitStack) -> Dispatcher:
        """Start database, objects and API; what runners talk to."""
        config = self._config
        listener = listen(config.host, config.port)
        stack.callback(listener.close)
        self.url = local_url(config.host, listener.getsockname()[1])
        public_url = config.public_url or self.url
        database = await self._database(stack)
        cipher = Cipher(key=self.folder.secret_key)
        await prove_key(database, cipher)
        sealing = Cipher(key=self._derived_key("named values"))
        hints = await stack.enter_async_context(Hints(database=database))
        seal_key = self._derived_key("log seal")
        archives = Archives(database=database, key=seal_key)
        blobs = await open_blobs(stack, config, self.folder.part("blobs"))
        archive = LogArchive(
            logs=Logs(database=database),
            archives=archives,
            blobs=blobs,
            installation=self._derived_key("blobs").hex()[:32],
        )
        stores = self.stores = Stores(
            projects=Projects(database=database, cipher=cipher),
            builds=Builds(database=database),
            deliveries=Deliveries(database=database),
            logs=archive,
            tokens=Tokens(database=database),
            secrets=Secrets(database=database, cipher=sealing),
            variables=Variables(database=database, cipher=sealing),
        )
        await self._keep_administrator(stores.tokens)
        clock = SystemClock()
        node = Node(
            database=database,
            id=self.folder.installation,
            address=config.node_address or public_url,
            cluster_key=self._derived_key("cluster").hex(),
            clock=clock,
        )
        assignments = Assignments(database=database)
        given = Given(
            config=config,
            stores=stores,
            assignments=assignments,
            archives=archives,
            archive=archive,
            hints=hints,
            seal_key=seal_key,
            repository=GitReader(cache=self.folder.part("repositories"), allow_local=config.allow_local_repositories),
        )
        builder = await self._start_objects(stack, node, given)
        dispatcher = Dispatcher(
            assignments=assignments,
            buddies=self.namespaces.builds,
            hints=hints,
            clock=clock,
            longest_wait=config.runner_lost_after / 4,
        )
        await self._meet_others(node, config.node_address or public_url)
        application = web.Application()
        if "api" in config.roles:
            application = create_app(
                stores=stores,
                services=Services(
                    builder=builder,
                    dispatcher=dispatcher,
                    hints=hints,
                    forge=GitHub(),
                    ready=lambda: _ready(database),
                    learn_schedules=lambda project: self.namespaces.schedules.get(str(project)).look(),
                    verification=LogVerification(
                        builds=stores.builds, logs=archive, archives=archives, blobs=blobs, key=seal_key
                    ),
                ),
                settings=WebSettings(
                    public_url=public_url,
                    session_key=self._derived_key("session"),
                    allow_local_repositories=config.allow_local_repositories,
                ),
            )
        application.add_routes(node.routes())
        await _answer(stack, application, listener)
        if "orchestrator" in config.roles:  # not before others reach us: two that start at once need each other
            await ensure_singletons(
                self.namespaces, start_scheduler=self._start_scheduler, archives=not archive.is_read_only
            )
        known = self.folder.path / "server.url"
        write_private(known, f"{self.url}\n".encode())
        stack.callback(known.unlink, missing_ok=True)
        return dispatcher

    async def _database(self, stack: AsyncExitStack) -> Database:
        dsn = self._config.database_url
        if dsn is None:
            postgres = await stack.enter_async_context(EmbeddedPostgres(self.folder.part("postgres")))
            dsn = postgres.dsn
        database = await stack.enter_async_context(Database(dsn, size=20))
        for migration in await migrate(database, PACKAGES):
            logger.info("migrated", migration=migration)
        return database

    async def _keep_administrator(self, tokens: Tokens) -> None:
        kept = await tokens.keep_administrator(
            self.admin_token,
            name=f"administrator of {platform.node()}",
            installation=UUID(self.folder.installation),
        )
        if not kept:
            path = self.folder.path / "admin.token"
            logger.warning("admin_token_revoked", file=str(path), way_out="remove the file and start again")

    async def _meet_others(self, node: Node, address: str) -> None:
        others = [other.address for other in await node.others()]
        if why := why_unreachable(address, others):
            logger.warning("nodes_unreachable", address=address, others=others, why=why, way_out="set --node-address")

    async def _start_objects(self, stack: AsyncExitStack, node: Node, given: Given) -> Builder:
        """Declare the durable objects, and start the node."""
        builds = declare_builds(node, given)
        builder = make_builder(given, builds)
        self.namespaces = declare_singletons(node, given, builds, builder)
        await stack.enter_async_context(node)
        self._watch(stack, node.wait_failed(), name="node")
        if "orchestrator" in self._config.roles:
            await given.stores.projects.limit_account(self._config.account_max_running)
        return builder

    async def _run_jobs(self, stack: AsyncExitStack, orchestrator: Orchestrator) -> None:
        config, data = self._config, self.folder.part("runner")
        driver = await self._driver()
        stack.push_async_callback(driver.close)
        jobs = self.folder.part("jobs")
        runner = await stack.enter_async_context(
            Runner(
                config=RunnerConfig(
                    installation=self.folder.installation,
                    data=data,
                    jobs=jobs_folder(jobs, installation=self.folder.installation) if driver.name == "process" else jobs,
                    slots=config.slots,
                    limits=Limits(memory=config.memory, cpus=config.cpus, pids=config.pids),
                    labels=tuple(sorted({*config.labels, *config.images, *COMMON_LABELS})),
                    allow_local_repositories=config.allow_local_repositories,
                ),
                drivers=(driver,),
                orchestrator=orchestrator,
            )
        )
        self._watch(stack, runner.run(), name="runner")

    async def _driver(self) -> Driver:
        """The configured driver; `auto` is Docker where an engine answers, else processes."""
        config = self._config
        if config.driver != "process":
            docker = DockerDriver(owner=self.folder.installation, socket=engine_socket(config.docker_host))
            try:
                await docker.list({})
            except DriverError as error:
                if config.driver == "docker":
                    logger.warning("no_engine", error=str(error), consequence="builds wait until it answers")
                    return docker
                await docker.close()
                logger.warning("driver_fallback", driver="process", why=str(error))
            else:
                return docker
        return ProcessDriver(state=self.folder.part("process"), hidden=(self.folder.path,))

    def _watch(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run a part of the system beside the others; its end, by whatever error, ends the App."""
        task = asyncio.create_task(work, name=name)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self._ended.put_nowait(task.exception() or SetupError(f"the {name} ended by itself"))

        async def end() -> None:
            task.remove_done_callback(ended)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        stack.push_async_callback(end)

    def _derived_key(self, purpose: str) -> bytes:
        """A key of its own for each purpose, the same on all nodes that share the installation's secret key."""
        return hmac.digest(self.folder.secret_key, purpose.encode(), "sha256")


async def _answer(stack: AsyncExitStack, application: web.Application, listener: socket.socket) -> None:
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()


async def _ready(database: Database) -> None:
    try:
        async with asyncio.timeout(5):
            await database.one(QUERIES["queue_length"])
    except (ActorsError, *TROUBLE) as error:
        raise Unavailable(f"the database does not answer: {error}") from error
