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
"""Objects whose builds are looked up at once."""

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
                for build, key in found:
                    await self._archive.delete(key)
                    await self._archives.forget(build)
            await self._sweep()
        except BlobsUnavailable as error:
            logger.warning("logs_not_deleted", error=str(error))
        async with self.ctx.turn():
            self.ctx.set_alarm(self.ctx.clock.now() + PAUSE)

    async def _sweep(self) -> None:
        objects: dict[UUID, list[str]] = {}
        async for build, key in self._archive.builds():
            objects.setdefault(build, []).append(key)
            if len(objects) >= STRANGERS:
                await self._delete_strangers(objects)
                objects = {}
        await self._delete_strangers(objects)

    async def _delete_strangers(self, objects: dict[UUID, list[str]]) -> None:
        for build in await self._archives.strangers(list(objects)):
            for key in objects[build]:
                await self._archive.delete(key)
