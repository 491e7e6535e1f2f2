"""Retention: one actor that deletes archived logs by the installation's rules, and says of each by which.

A log is first declared deleted, then its object is deleted, then that is recorded: a crash between leaves the next look
something to finish. Logs that are not archived (yet) are kept.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from actors import Actor, Context
from buildsys.core.blobs import BlobsUnavailable
from buildsys.objects.log_archive import LogArchive
from buildsys.store.archives import Archives, Rules

PAUSE = timedelta(hours=1)
"""Between two looks."""

STRANGERS = 500
"""Builds of objects that are looked up at once."""

SINGLETON = "retention"
"""The name of the one Retention."""

logger = structlog.get_logger(__name__)


class Retention(Actor):
    """Looks every hour."""

    def __init__(self, ctx: Context, *, archives: Archives, archive: LogArchive, rules: Rules) -> None:
        super().__init__(ctx)
        self._archives = archives
        self._archive = archive
        self._rules = rules

    async def alarm(self) -> None:
        """Delete what no rule keeps, what an earlier look left unfinished, and what is of builds that are no more."""
        try:
            for build, rule in await self._archives.expire(self._rules):
                logger.info("log_deleted", build=str(build), rule=rule)
            while found := await self._archives.deleted():
                for build in found:
                    await self._archive.delete(build)
                    await self._archives.forget(build)
            await self._sweep()
        except BlobsUnavailable as error:
            logger.warning("logs_not_deleted", error=str(error))
        async with self.ctx.turn():
            self.ctx.set_alarm(self.ctx.clock.now() + PAUSE)

    async def _sweep(self) -> None:
        builds: set[UUID] = set()
        async for build in self._archive.builds():
            builds.add(build)
            if len(builds) >= STRANGERS:
                await self._delete_strangers(builds)
                builds = set()
        await self._delete_strangers(builds)

    async def _delete_strangers(self, builds: set[UUID]) -> None:
        for build in await self._archives.strangers(list(builds)):
            await self._archive.delete(build)
