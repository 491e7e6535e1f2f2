"""How long the images stay that were built for jobs.

Whenever one is built, those go that no job has taken for an hour, except the ten that were taken last. So there is room
for what is built again and again, the disk does not fill, and no image goes between a job's set-up and its start. When
one was taken last, the engine knows: a job that takes it gives it its name again. One that somebody runs stays.

What a build leaves that fails, and the layers that others share, are the engine's own (`docker image prune`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from buildsys.adapters.docker_engine import CONFLICT, Engine, EngineRefused, together

KEPT = 10
UNTAKEN = timedelta(hours=1)


class BuiltImages:
    """The images of a repository that only the engine has, named by a digest of what they are made of."""

    def __init__(
        self, *, engine: Engine, repository: str = "buildsys-build", kept: int = KEPT, untaken: timedelta = UNTAKEN
    ) -> None:
        self._engine = engine
        self._repository = repository
        self._kept = kept
        self._untaken = untaken

    def name(self, digest: str) -> str:
        return f"{self._repository}:{digest}"

    async def take(self, name: str) -> bool:
        """Have the image stay for a while; False where there is none."""
        repository, _, tag = name.partition(":")
        return await self._engine.find(self._engine.client.images.tag(name, repository, tag=tag)) is not None

    async def tidy(self) -> None:
        """Remove those that are not needed any more."""
        listed = await self._engine.ask(self._engine.client.images.list(filters={"reference": [self._repository]}))
        names = [str(name) for each in listed for name in each["RepoTags"] or ()]
        taken = dict(zip(names, await together(*map(self._taken, names)), strict=True))
        latest = sorted(names, key=lambda name: taken[name], reverse=True)
        since = datetime.now(UTC) - self._untaken
        for name in latest[self._kept :]:
            if taken[name] < since:
                await self._remove(name)

    async def _taken(self, name: str) -> datetime:
        """When a job took the image last; now for one that is gone meanwhile."""
        found: dict[str, Any] | None = await self._engine.find(self._engine.client.images.inspect(name))
        if found is None:
            return datetime.now(UTC)
        return datetime.fromisoformat((found.get("Metadata") or {}).get("LastTagTime") or found["Created"])

    async def _remove(self, name: str) -> None:
        try:
            await self._engine.find(self._engine.client.images.delete(name))
        except EngineRefused as error:
            if error.http_status != CONFLICT:  # somebody runs it
                raise
