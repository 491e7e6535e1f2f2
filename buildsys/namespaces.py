"""Which durable objects there are, and what each is given."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from actors import ActorUnavailable, Namespace, Node, Retry
from buildsys.adapters.github import GitHub
from buildsys.config import Config
from buildsys.core.own_events import FORGE, OwnEvents
from buildsys.core.planning import PlanSettings
from buildsys.core.repository import Repository
from buildsys.errors import BuildsysError
from buildsys.objects import retention, scheduler, triggers
from buildsys.objects.build_buddy import BuildBuddy, BuildLimits
from buildsys.objects.builder import Builder, PlanDefaults
from buildsys.objects.log_archive import LogArchive
from buildsys.objects.provisions import Provisions
from buildsys.objects.retention import Retention
from buildsys.objects.scheduler import Scheduler
from buildsys.objects.schedules import Schedules
from buildsys.objects.triggers import Triggers
from buildsys.store.archives import Archives, Rules
from buildsys.store.assignments import Assignments
from buildsys.store.hints import Hints
from buildsys.web.services import Stores

logger = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds in which a start makes sure of the singletons: longer than a dead node's lease."""

PAUSE = 0.2
"""Seconds between two tries."""

RETRIED_FOR_EVER = Retry.forever(cap=5.0)
"""The system's own singletons never give up: without them nothing is built."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What they share. Only one may read repositories into a folder, so all do by the same `repository`."""

    config: Config
    stores: Stores
    assignments: Assignments
    archives: Archives
    archive: LogArchive
    hints: Hints
    seal_key: bytes
    repository: Repository

    def __repr__(self) -> str:
        return "Given(...)"


class Namespaces(msgspec.Struct, frozen=True, kw_only=True):
    """The durable objects, by kind."""

    builds: Namespace[BuildBuddy]
    schedulers: Namespace[Scheduler]
    triggers: Namespace[Triggers]
    schedules: Namespace[Schedules]
    retentions: Namespace[Retention]


def declare_builds(node: Node, given: Given) -> Namespace[BuildBuddy]:
    """One actor a build."""
    config = given.config
    limits = BuildLimits(
        startup=config.startup_limit,
        silence=config.runner_lost_after,
        grace=config.grace,
        log=config.log_limit,
        archive_after=None if given.archive.is_read_only else config.archive_after,
    )
    return node.namespace(
        "build",
        BuildBuddy,
        lambda ctx: BuildBuddy(
            ctx,
            provisions=Provisions(projects=given.stores.projects, secrets=given.stores.secrets),
            assignments=given.assignments,
            hints=given.hints,
            limits=limits,
            seal_key=given.seal_key,
            archive=given.archive,
        ),
        errors=(BuildsysError,),
    )


def make_builder(given: Given, builds: Namespace[BuildBuddy]) -> Builder:
    """What makes builds of commits."""
    config = given.config
    return Builder(
        builds=given.stores.builds,
        variables=given.stores.variables,
        buddies=builds,
        repository=given.repository,
        hints=given.hints,
        defaults=PlanDefaults(
            settings=PlanSettings(images=dict(config.images), image=config.default_image), time_limit=config.time_limit
        ),
    )


def declare_singletons(node: Node, given: Given, builds: Namespace[BuildBuddy], builder: Builder) -> Namespaces:
    """The actors that there is one of, and one of each project."""
    config = given.config
    schedules = node.namespace(
        "schedules",
        Schedules,
        lambda ctx: Schedules(
            ctx,
            deliveries=given.stores.deliveries,
            projects=given.stores.projects,
            repository=given.repository,
            hints=given.hints,
        ),
    )
    return Namespaces(
        builds=builds,
        schedulers=node.namespace(
            "scheduler",
            Scheduler,
            lambda ctx: Scheduler(
                ctx,
                buddies=builds,
                hints=given.hints,
                max_running=config.max_running,
                start_concurrency=config.start_concurrency,
                seal_key=given.seal_key,
            ),
            retry=RETRIED_FOR_EVER,
        ),
        triggers=node.namespace(
            "triggers",
            Triggers,
            lambda ctx: Triggers(
                ctx,
                deliveries=given.stores.deliveries,
                projects=given.stores.projects,
                builder=builder,
                schedules=schedules,
                forges={"github": GitHub(), FORGE: OwnEvents()},
                hints=given.hints,
            ),
            retry=RETRIED_FOR_EVER,
        ),
        schedules=schedules,
        retentions=node.namespace(
            "retention",
            Retention,
            lambda ctx: Retention(
                ctx,
                archives=given.archives,
                archive=given.archive,
                rules=Rules(age=config.keep_logs_for, count=config.keep_logs, size=config.keep_log_bytes),
            ),
            retry=Retry.forever(cap=300.0),
        ),
    )


async def ensure_singletons(namespaces: Namespaces, *, start_scheduler: bool, archives: bool) -> None:
    """Make sure that they are awake, which they stay. Without `start_scheduler` nobody looks at the queue.

    The node that has one of them may be ending just now: it is asked again. Raises `ActorUnavailable` after `PATIENCE`.
    """
    if start_scheduler:
        await _ensure(namespaces.schedulers, scheduler.SINGLETON)
    await _ensure(namespaces.triggers, triggers.SINGLETON)
    if archives:
        await _ensure(namespaces.retentions, retention.SINGLETON)


async def _ensure(namespace: Namespace[Any], name: str) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while True:
        try:
            return await namespace.ensure(name)
        except ActorUnavailable as error:
            if loop.time() > until:
                raise
            logger.info("not_ensured_yet", actor=f"{namespace.name}/{name}", error=str(error))
        await asyncio.sleep(PAUSE)
