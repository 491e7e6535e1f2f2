"""What a runner makes of a planned job's container and services before a driver starts them."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import pytest
from msgspec.structs import replace
from runner_orchestrator import assignment

from buildsys.core.definition import Credentials
from buildsys.core.definition import ImageBuild as Written
from buildsys.core.driver import ContainerSpec, ContainerStatus, ImageBuild, Login, ServiceSpec, ServiceStatus
from buildsys.core.expressions import ExpressionError
from buildsys.core.planned import PlannedContainer, PlannedJob
from buildsys.runner.equipment import equipped, job_context
from buildsys.runner.step_scope import situation

BARE = ContainerSpec(name="job", folder=Path("/folder"), lifetime=1.0)
SECRETS = {"USER": "octo", "TOKEN": "hunter2hunter2"}


def equip(**fields: Any) -> ContainerSpec:
    """The spec of a job with these fields, in an environment with FLAVOUR, a matrix, and secrets."""
    contexts = {"github": {"actor": "octo"}, "matrix": {"version": 12.0}}
    job = PlannedJob(
        id="job", name="job", runs_on=(), contexts=contexts, steps=(), environments=({"FLAVOUR": "blue"},), **fields
    )
    return equipped(
        BARE, situation(assignment(job=job, named_secrets=SECRETS), root=PurePath("/buildsys"), runner="one")
    )


def test_a_job_that_says_nothing() -> None:
    assert equip() == BARE
    assert equip(container=PlannedContainer(image="debian"), trusted=True) == replace(
        BARE, image="debian", trusted=True
    )


def test_variables_of_the_jobs_own_container_are_its_steps_alone() -> None:
    container = PlannedContainer(image="debian", env={"PATH": "/opt"}, options=("--init",), volumes=("/a:/b",))
    assert equip(container=container) == replace(BARE, image="debian", options=("--init",), volumes=("/a:/b",))


def test_an_image_of_the_projects_own() -> None:
    build = Written(context="image", dockerfile="image/Dockerfile", target="late", arguments={"A": "b"})
    assert equip(container=PlannedContainer(build=build)).build == ImageBuild(
        context="image", dockerfile="image/Dockerfile", target="late", arguments={"A": "b"}
    )


def test_a_service_has_its_variables_from_all_contexts() -> None:
    """`jobs.<job_id>.services.<service_id>.env.<env_id>`: github, needs, strategy, matrix, …, env, vars, secrets."""
    env = {"WHO": "${{ github.actor }} ${{ matrix.version }} ${{ env.FLAVOUR }}", "PASSWORD": "${{ secrets.token }}"}
    planned = PlannedContainer(image="postgres", env=env, ports=("5432",), options=("--health-cmd=true",))
    assert equip(services={"db": planned}).services == (
        ServiceSpec(
            name="db",
            image="postgres",
            env={"WHO": "octo 12 blue", "PASSWORD": "hunter2hunter2"},
            ports=("5432",),
            options=("--health-cmd=true",),
        ),
    )


def test_variables_may_be_one_expression() -> None:
    planned = PlannedContainer(image="postgres", env="${{ fromJSON('{\"A\": 1}') }}")
    assert equip(services={"db": planned}).services[0].env == {"A": "1"}


@pytest.mark.parametrize(
    ("username", "password", "login"),
    [
        ("${{ secrets.USER }}", "${{ secrets.TOKEN }}", Login(username="octo", password="hunter2hunter2")),
        ("${{ github.actor }}", "${{ secrets.NONE }}", None),
        ("", "", None),
    ],
)
def test_credentials(username: str, password: str, login: Login | None) -> None:
    """Without the secret, as in the build of a fork, nobody logs in: a public image is pulled all the same."""
    planned = PlannedContainer(image="i", credentials=Credentials(username=username, password=password))
    spec = equip(container=planned, services={"db": planned})
    assert (spec.login, spec.services[0].login) == (login, login)


@pytest.mark.parametrize(
    ("planned", "told"),
    [
        (PlannedContainer(image="i", env={"A": "${{ fromJSON('x') }}"}), r"services\.db\.env: "),
        (PlannedContainer(image="i", env="${{ 'text' }}"), r"services\.db\.env: the value is no mapping"),
        (PlannedContainer(image="i", env="${{ fromJSON('{\"A=B\": 1}') }}"), r"services\.db\.env: 'A=B' is no var"),
        (PlannedContainer(image="i", env="${{ fromJSON('{\"\": 1}') }}"), r"services\.db\.env: '' is no variable"),
        (PlannedContainer(image="i", env={"A": "${{ fromJSON('\"\\u0000\"') }}"}), "NUL character"),
        (
            PlannedContainer(image="i", credentials=Credentials(username="${{ fromJSON('x') }}", password="p")),
            r"services\.db\.credentials: ",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_place(planned: PlannedContainer, told: str) -> None:
    with pytest.raises(ExpressionError, match=told):
        equip(services={"db": planned})


def test_the_job_context() -> None:
    """`job.container.id`, `job.services.<service_id>.ports` and their neighbours in the contexts reference."""
    services = {"db": ServiceStatus(id="d", ports={"5432": "15432"})}
    started = ContainerStatus(id="c", name="job", running=True, network="n", services=services)
    assert job_context(started) == {
        "container": {"id": "c", "network": "n"},
        "services": {"db": {"id": "d", "network": "n", "ports": {"5432": "15432"}}},
    }
