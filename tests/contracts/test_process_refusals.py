"""What the process driver refuses, before anything starts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from containers import Start

from buildsys.core.driver import Driver, ImageBuild, ServiceSpec, unheard
from buildsys.errors import ContainerRefused


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"services": (ServiceSpec(name="db", image="postgres"), ServiceSpec(name="cache", image="redis"))},
            "this job needs the docker driver, for the service db, the service cache, and its runner has the "
            "process driver: add 'docker' to the job's runs-on",
        ),
        ({"build": ImageBuild()}, "for an image of the project's own Dockerfile, and"),
        ({"volumes": ("/:/host",)}, "for volumes, and"),
    ],
)
@pytest.mark.parametrize("kind", ["process"], indirect=True)
async def test_what_only_an_engine_can_give_is_refused(
    start: Start, driver: Driver, fields: dict[str, Any], words: str
) -> None:
    job = await start(run=False)
    spec = msgspec.structs.replace(job.spec, **fields)
    for refused in (driver.prepare(spec, unheard), driver.start(spec)):
        with pytest.raises(ContainerRefused, match=words):
            await refused
    assert await driver.inspect(spec.name) is None
