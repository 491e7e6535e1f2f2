"""Whether we live, and whether we can serve."""

from __future__ import annotations

from aiohttp import web

from buildsys.web.codec import json_response
from buildsys.web.services import Ready


class HealthRoutes:
    def __init__(self, *, ready: Ready) -> None:
        self._ready = ready

    async def alive(self, _request: web.Request) -> web.Response:
        """The process answers."""
        return json_response({"status": "alive"})

    async def ready(self, _request: web.Request) -> web.Response:
        """The database answers and its schema is ours; what `ready` raises is the answer otherwise."""
        await self._ready()
        return json_response({"status": "ready"})
