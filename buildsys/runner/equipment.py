"""What a driver is to start for a job: its container and its services, with everything evaluated.

Sources: "jobs.<job_id>.container" and "jobs.<job_id>.services" in GitHub's workflow syntax, and its contexts reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from buildsys.core.definition import Credentials
from buildsys.core.driver import ContainerSpec, ContainerStatus, ImageBuild, Login, ServiceSpec
from buildsys.core.expressions import CaseSensitive, ExpressionError, Value
from buildsys.core.planned import PlannedContainer
from buildsys.runner.job_contexts import text, told, variables
from buildsys.runner.step_scope import Situation


def equipped(spec: ContainerSpec, found: Situation) -> ContainerSpec:
    """The spec with what the job says of its container and its services. Raises `ExpressionError`.

    The variables of the job's own container are not in it: its steps have them, and its init is none of their business.
    """
    job = found.job
    contexts = {**found.contexts, "env": CaseSensitive(found.env)}
    own = {} if job.container is None else _equipment(job.container, contexts, "container")
    services = tuple(
        ServiceSpec(
            name=name,
            env=_variables(planned, contexts, f"services.{name}"),
            ports=planned.ports,
            **_equipment(planned, contexts, f"services.{name}"),
        )
        for name, planned in job.services.items()
    )
    return replace(spec, services=services, trusted=job.trusted, **own)


def job_context(container: ContainerStatus) -> dict[str, Any]:
    """`job`, but for its status: the container and the services as they were started."""
    return {
        "container": {"id": container.id, "network": container.network},
        "services": {
            name: {"id": service.id, "network": container.network, "ports": service.ports}
            for name, service in container.services.items()
        },
    }


def _equipment(planned: PlannedContainer, contexts: Mapping[str, Value], key: str) -> dict[str, Any]:
    build = planned.build
    return {
        "image": planned.image,
        "build": None if build is None else msgspec.convert(build, ImageBuild, from_attributes=True),
        "login": None if planned.credentials is None else _login(planned.credentials, contexts, f"{key}.credentials"),
        "options": planned.options,
        "volumes": planned.volumes,
    }


def _login(credentials: Credentials, contexts: Mapping[str, Value], key: str) -> Login | None:
    """Who to be at the registry; nobody where a part comes out empty, as for a secret that a fork does not get."""
    with told(key):
        login = Login(username=text(credentials.username, contexts), password=text(credentials.password, contexts))
    return login if login.username and login.password else None


def _variables(planned: PlannedContainer, contexts: Mapping[str, Value], key: str) -> dict[str, str]:
    with told(f"{key}.env"):
        found = variables(planned.env, contexts)
        for name, value in found.items():
            if not name or "=" in name or "\0" in name + value:
                raise ExpressionError(f"{name[:60]!r} is no variable, or its value has a NUL character", at=0)
    return found
