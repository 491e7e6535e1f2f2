"""Images that a project makes of its own files, by the engine's builder.

An image is named after all that goes into it, so that what was built once is found and not built again, as long as it
stays (`docker_built`). Of the context all files go to the engine but the repository's own (`.git`), as they do where
the context is a repository's URL: they differ in each clone, and nothing would ever be found. `.dockerignore`
changes nothing: the engine leaves it to those who send the context.

The containers of `RUN` are on the jobs' network, where they reach no job, with the job's limits of memory and CPU. What
the engine gives them besides is its default: more capabilities than a job's, and no limit of processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tarfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from buildsys.adapters.docker_built import BuiltImages
from buildsys.adapters.docker_dockerfile import Base, check_triggers, read_dockerfile
from buildsys.adapters.docker_engine import Engine, EngineRefused
from buildsys.adapters.docker_image import Images
from buildsys.core.driver import ImageBuild, Limits
from buildsys.errors import ImageNotBuilt

_LONGEST_DOCKERFILE = 1 << 20
_LONGEST_LINE = 2000
_PIECE = 1 << 20
_PERIOD = 100_000  # microseconds in which a container may use its share of CPUs
_OURS = ".buildsys.Dockerfile"
"""The Dockerfile's name in the archive: it need not lie in the context, and its text is what was checked. The archive
holds nothing else of that name, or an engine might build that."""


class BuildSite(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job's images are built: of which files, on which network, with which limits."""

    workspace: Path
    network: str
    limits: Limits


class ImageBuilds:
    """Builds images; the same one wanted twice at the same time is built once."""

    def __init__(self, *, engine: Engine, images: Images) -> None:
        self._engine = engine
        self._images = images
        self._built = BuiltImages(engine=engine)
        self._running: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def build(self, build: ImageBuild, site: BuildSite, progress: Callable[[str], None]) -> str:
        """The image's name; `progress` gets what the build prints.

        Raises `ImageNotBuilt`, and `ImageUnusable` for an image that it starts from.
        """
        context = _inside(site.workspace, build.context)
        if not context.is_dir():
            raise ImageNotBuilt(f"an image's context is a folder, and {build.context!r} is none")
        text = _text(_inside(site.workspace, build.dockerfile), build.dockerfile)
        dockerfile = read_dockerfile(text, build.arguments)
        name = self._built.name(await asyncio.to_thread(_digest, build, text, context))
        async with self._running.setdefault(name, asyncio.Lock()):
            if await self._built.take(name):
                progress(f"The image of {build.dockerfile} is here already")
                return name
            for base in dockerfile.bases:
                await self._have(base, progress)
            progress(f"Building the image of {build.dockerfile}")
            try:
                await self._run(name, build, site, (dockerfile.text, context), progress)
            except EngineRefused as error:
                raise ImageNotBuilt(f"the image of {build.dockerfile} cannot be built: {error.text}") from error
            await self._built.tidy()
        return name

    async def _have(self, base: Base, progress: Callable[[str], None]) -> None:
        await self._images.have(base.image, None, progress)
        found = await self._engine.ask(self._engine.client.images.inspect(base.image))
        platform = f"{found['Os']}/{found['Architecture']}"
        if base.platform not in ("", platform):
            raise ImageNotBuilt(
                f"FROM --platform={base.platform} {base.image}: it is here for {platform}; leave it out"
            )
        check_triggers(base.image, found["Config"].get("OnBuild") or [])

    async def _run(
        self, name: str, build: ImageBuild, site: BuildSite, content: tuple[str, Path], progress: Callable[[str], None]
    ) -> None:
        options = {
            "t": name,
            "dockerfile": _OURS,
            "target": build.target or "",
            "buildargs": json.dumps(build.arguments),
            "rm": "1",
            "forcerm": "1",
            "networkmode": site.network,
            "memory": str(site.limits.memory),
            "memswap": str(site.limits.memory),
            "cpuperiod": str(_PERIOD),
            "cpuquota": str(round(_PERIOD * site.limits.cpus)),
        }
        async with aclosing(self._engine.build(_archive(*content), options)) as reports:
            async for report in reports:
                if "error" in report:
                    raise ImageNotBuilt(f"the image of {build.dockerfile} cannot be built: {report['error']}")
                for line in str(report.get("stream", "")).splitlines():
                    progress(line[:_LONGEST_LINE])


def _inside(workspace: Path, path: str) -> Path:
    """The path below the workspace, whatever links it goes through."""
    root = workspace.resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise ImageNotBuilt(f"{path!r} leads out of the workspace")
    return found


def _text(file: Path, shown: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_DOCKERFILE + 1)
        if len(content) <= _LONGEST_DOCKERFILE:
            return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ImageNotBuilt(f"the Dockerfile {shown!r} cannot be read: {error}") from None
    raise ImageNotBuilt(f"the Dockerfile {shown!r} is longer than {_LONGEST_DOCKERFILE} bytes")


def _digest(build: ImageBuild, text: str, context: Path) -> str:
    """Of all that goes into the image."""
    settings = [text, build.target or "", *(f"{name}={value}" for name, value in sorted(build.arguments.items()))]
    whole = hashlib.sha256(json.dumps(settings).encode())
    for path, info in _files(context):
        whole.update(json.dumps([info.name, info.mode, info.type.decode(), info.linkname, info.size]).encode())
        if info.isreg():
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


async def _archive(text: str, context: Path) -> AsyncGenerator[bytes, None]:
    """The context as a tar archive, a piece at a time."""
    for path, info in await asyncio.to_thread(lambda: list(_files(context))):
        yield info.tobuf()
        if info.isreg():
            left = info.size
            with path.open("rb") as file:
                while left and (piece := await asyncio.to_thread(file.read, min(left, _PIECE))):
                    left -= len(piece)
                    yield piece
            yield bytes(left) + _padding(info.size)  # of a file that has shrunk meanwhile, zeros
    encoded = text.encode()
    own = tarfile.TarInfo(_OURS)
    own.size, own.mode = len(encoded), 0o644
    yield own.tobuf() + encoded + _padding(own.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _files(context: Path) -> Iterator[tuple[Path, tarfile.TarInfo]]:
    """Folders, files and links (not followed), in order, with nothing in their records that differs in each clone."""
    for folder, folders, files in os.walk(context):
        if Path(folder) == context:
            folders[:] = [name for name in folders if name not in (".git", _OURS)]
            files = [name for name in files if name != _OURS]
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            info = _record(path, str(path.relative_to(context)))
            if info is not None:
                yield path, info


def _record(path: Path, name: str) -> tarfile.TarInfo | None:
    found = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if found.st_mode & 0o100 else 0o644
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
    elif path.is_dir():
        info.type = tarfile.DIRTYPE
    elif path.is_file():
        info.size = found.st_size
    else:
        return None  # neither a device nor a FIFO is a file of a project
    return info
