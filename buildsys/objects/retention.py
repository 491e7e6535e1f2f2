"""Retention: one actor that deletes archived logs by the installation's rules, and says of each by which.

A log is first declared deleted, then its object is deleted, then that is recorded: a crash between leaves the next look
something to finish. Logs that are not archived (yet) are kept.

An object that no row knows is a stray: its build was deleted, or an attempt to archive came too late. But a database
that was restored from a backup does not know either what was archived since. So a stray is deleted only some days after
it was made, and never if it was made in a gap: a time in which this database saw no look, as between a backup and its
return.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from actors import Actor, Context
from buildsys.core.blobs import BlobsUnavailable
from buildsys.objects.log_archive import LogArchive, LogObject
from buildsys.store.archives import Archives, Rules

PAUSE = timedelta(hours=1)
"""Between two looks."""

GAP = 2 * PAUSE
"""Without a look for so long: nobody was there, or the database is an older one than it was."""

STRAY = timedelta(days=14)
"""The age at which a stray is deleted: no attempt to archive takes so long, and nobody who restores a database."""

AT_ONCE = 500
"""Objects that are looked up at once."""

SINGLETON = "retention"
"""The name of the one Retention."""

logger = structlog.get_logger(__name__)


class Gap(msgspec.Struct, frozen=True):
    """A time without a look, and with strays."""

    start: datetime
    end: datetime


class Retention(Actor):
    """Looks every hour."""

    def __init__(self, ctx: Context, *, archives: Archives, archive: LogArchive, rules: Rules) -> None:
        super().__init__(ctx)
        self._archives = archives
        self._archive = archive
        self._rules = rules

    async def alarm(self) -> None:
        """Delete what no rule keeps, what an earlier look left unfinished, and old strays."""
        now = self.ctx.clock.now()
        gaps = await self._gaps(now)
        try:
            for build, rule in await self._archives.expire(self._rules):
                logger.info("log_deleted", build=str(build), rule=rule)
            while found := await self._archives.deleted():
                for build in found:
                    await self._archive.delete(build)
                    await self._archives.forget(build)
            gaps = await self._sweep(now, gaps)
        except BlobsUnavailable as error:
            logger.warning("logs_not_deleted", error=str(error))
        async with self.ctx.turn():
            self.ctx.storage.put_many({"looked": now, "gaps": gaps})
            self.ctx.set_alarm(self.ctx.clock.now() + PAUSE)

    async def _gaps(self, now: datetime) -> list[Gap]:
        """The gaps so far, and the one that ends now; a new database has had no look since ever."""
        gaps = await self.ctx.storage.get("gaps", list[Gap]) or []
        looked = await self.ctx.storage.get("looked", datetime) or datetime.fromtimestamp(0, UTC)
        return [*gaps, Gap(looked, now)] if now - looked > GAP else gaps

    async def _sweep(self, now: datetime, gaps: list[Gap]) -> list[Gap]:
        """Delete old strays; which of the gaps have some, and are to be remembered."""
        kept: set[Gap] = set()
        async for stray in self._strays():
            around = {gap for gap in gaps if gap.start <= stray.made_at <= gap.end}
            kept |= around
            if not around and stray.made_at < now - STRAY:
                await self._archive.delete_object(stray)
        return [gap for gap in gaps if gap in kept]

    async def _strays(self) -> AsyncIterator[LogObject]:
        batch: list[LogObject] = []
        async for found in self._archive.objects():
            batch.append(found)
            if len(batch) == AT_ONCE:
                for stray in await self._unknown(batch):
                    yield stray
                batch = []
        for stray in await self._unknown(batch):
            yield stray

    async def _unknown(self, batch: list[LogObject]) -> list[LogObject]:
        keys = await self._archives.strays([found.key for found in batch], builds=[found.build for found in batch])
        return [found for found in batch if found.key in keys]
