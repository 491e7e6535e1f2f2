"""A log that has left the database is read and searched as it was before."""

from __future__ import annotations

import random
from pathlib import Path

import aiohttp
import msgspec
from aiohttp.test_utils import TestServer
from web_site import SEAL_KEY, serve

from actors import Database
from buildsys.adapters.files import FileBlobs
from buildsys.objects.log_archive import LogArchive
from buildsys.store.archives import Archives, archive_columns
from buildsys.store.queries import QUERIES
from buildsys.web.app import create_app

ASKED = [
    (accept, query)
    for accept in ("text/plain", "application/json", "text/event-stream")
    for query in ("", "after=300", "after=17&limit=40", "tail=1", "tail=70", "tail=30&job=k", "job=j", "outline=1")
] + [
    (accept, query)
    for accept in ("application/json", "application/x-ndjson")
    for query in ("q=word+1", "q=7$&regex=1&limit=3", "q=WORD&ignore_case=1&job=k&limit=1000", "q=nowhere")
]


async def test_an_archived_log_answers_as_before(database: Database, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with serve(database) as site:
        log = await site.log()
        for number in range(120):
            lines = b"".join(b"word %d\n" % chance.randrange(1000) for _ in range(chance.randrange(1, 30)))
            await log.lines(lines, job=chance.choice("jk"))
            if number % 9 == 0:
                await log.event("step_started", name="s")
        await log.end()
        archives = Archives(database=database, key=SEAL_KEY)
        blobs = FileBlobs(tmp_path / "blobs")
        logs = LogArchive(logs=site.stores.logs, archives=archives, blobs=blobs, installation="here")
        stores = msgspec.structs.replace(site.stores, logs=logs)
        app = create_app(stores=stores, services=site.services, settings=site.settings)
        async with TestServer(app) as server:

            async def answers() -> list[tuple[int, bytes]]:
                found = []
                for accept, query in ASKED:
                    for coding in ("identity", "zstd"):
                        url = f"{server.make_url('/')}api/v1/builds/{log.build}/logs?{query}"
                        headers = {
                            "Authorization": f"Bearer {site.admin_token}",
                            "Accept": accept,
                            "Accept-Encoding": coding,
                        }
                        async with (
                            aiohttp.ClientSession(auto_decompress=False) as session,
                            session.get(url, headers=headers) as response,
                        ):
                            found.append((response.status, await response.read()))
                return found

            before = await answers()
            archive = await logs.write(log.build)
            assert archive is not None
            await database.execute(QUERIES["archive_insert"], **archive_columns(log.build, archive))
            await logs.drop(log.build)
            assert await database.pool.fetchval("SELECT count(*) FROM log_records") == 0
            assert await answers() == before
            assert {status for status, _ in before} == {200}
