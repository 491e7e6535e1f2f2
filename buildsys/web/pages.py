"""The page people use: static files, with nothing inline, from nowhere else."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from buildsys.errors import NotFound

UI = Path(__file__).parent / "ui"


async def index(_request: web.Request) -> web.FileResponse:
    return _file("index.html")


async def asset(request: web.Request) -> web.FileResponse:
    return _file(request.match_info["path"])


def _file(path: str) -> web.FileResponse:
    file = UI.joinpath(path.replace("\0", "")).resolve()
    if not file.is_relative_to(UI.resolve()) or not file.is_file():
        raise NotFound("there is no such file")
    return web.FileResponse(file, headers={"Cache-Control": "no-cache"})
