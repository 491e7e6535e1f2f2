"""A registry on loopback that serves one image, and counts what is asked for: the read side of the distribution API."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections import Counter
from typing import Self
from uuid import uuid4

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from buildsys.core.driver import Login

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class ImageRegistry:
    """Serves `image`, which the engine has, under the name `reference`. Used with `async with`.

    With a `login` it opens to nobody else. A file is added to the image, so that the engine has to ask for every byte.
    A `broken` registry has lost the bytes.
    """

    def __init__(self, image: str, *, broken: bool = False, login: Login | None = None) -> None:
        self._authorization = login and aiohttp.encode_basic_auth(login.username, login.password)
        self.asked: Counter[str] = Counter()
        self._content: dict[str, bytes] = {}
        saved = subprocess.run(["docker", "save", image], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
            [entry] = json.loads(_read(tar, "manifest.json"))
            [layer] = entry["Layers"]
            described = self._add(_with_a_new_file(_read(tar, layer)))
            config = json.loads(_read(tar, entry["Config"]))
        config["rootfs"]["diff_ids"] = [described["digest"]]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **self._add(json.dumps(config).encode())},
            "layers": [{"mediaType": LAYER, **described}],
        }
        self._manifest = json.dumps(manifest).encode()
        if broken:
            self._content.clear()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._admit])
        app.router.add_get("/v2/", self._greet)
        app.router.add_get("/v2/team/image/manifests/{reference}", self._get_manifest)
        app.router.add_get("/v2/team/image/blobs/{digest}", self._get_blob)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.reference = f"127.0.0.1:{self._runner.addresses[0][1]}/team/image:1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        subprocess.run(["docker", "image", "rm", "--force", self.reference], check=False, capture_output=True)

    def _add(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._content[digest] = content
        return {"digest": digest, "size": len(content)}

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._authorization in (None, request.headers.get("Authorization")):
            return await handler(request)
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="tests"'})

    async def _greet(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _get_manifest(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            self.asked["manifest"] += 1
        digest = f"sha256:{hashlib.sha256(self._manifest).hexdigest()}"
        return web.Response(body=self._manifest, content_type=MANIFEST, headers={"Docker-Content-Digest": digest})

    async def _get_blob(self, request: web.Request) -> web.Response:
        self.asked["blob"] += 1
        content = self._content.get(request.match_info["digest"])
        if content is None:
            raise web.HTTPNotFound
        return web.Response(body=content, content_type="application/octet-stream")


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _with_a_new_file(layer: bytes) -> bytes:
    content = io.BytesIO(layer)
    with tarfile.open(fileobj=content, mode="a") as tar:
        tar.addfile(tarfile.TarInfo(f"etc/{uuid4().hex}"))
    return content.getvalue()
