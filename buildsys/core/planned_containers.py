"""The containers of a job: which image, and what of their settings is allowed."""

from __future__ import annotations

import posixpath
import re

from buildsys.core.container_options import WAY_OUT, read_options
from buildsys.core.definition import Container, ImageBuild
from buildsys.core.plan_values import Evaluator, PlanError
from buildsys.core.planned import PlannedContainer
from buildsys.core.ports import read_port

_NO_IMAGE = re.compile(r"-|.*[\x00-\x20\x7f]", re.DOTALL)


def plan_container(
    container: Container, evaluator: Evaluator, key: str, *, service: bool, trusted: bool
) -> PlannedContainer | None:
    """A container with what can be told before its job starts; None where its image's name comes out empty.

    Volumes, and options that reach out of the container, are refused unless the project is `trusted`. Raises
    `PlanError`.
    """
    image = None if container.build is not None else _image(container, evaluator, f"{key}.image")
    if image == "":
        return None
    volumes = tuple(evaluator.text(volume, f"{key}.volumes") for volume in container.volumes)
    if volumes and not trusted:
        raise PlanError(
            f"{key}.volumes: these are folders of the host; an administrator must trust the project first: {WAY_OUT}"
        )
    if any("\0" in volume for volume in volumes):
        raise PlanError(f"{key}.volumes: a volume cannot hold a NUL character")
    options = evaluator.text(container.options, f"{key}.options")
    return PlannedContainer(
        image=image,
        build=None if container.build is None else _build(container.build, evaluator, f"{key}.build"),
        credentials=container.credentials,
        env=container.env,
        ports=tuple(_port(evaluator.text(port, f"{key}.ports"), f"{key}.ports") for port in container.ports),
        volumes=volumes,
        options=read_options(options, f"{key}.options", service=service, trusted=trusted),
    )


def _image(container: Container, evaluator: Evaluator, key: str) -> str:
    """GitHub takes an empty name for none: the service does not start, the job runs without a container of its own."""
    image = evaluator.text(container.image or "", key)
    if image and _NO_IMAGE.match(image):
        raise PlanError(f"{key}: not the name of an image: {image[:60]!r}")
    return image


def _build(build: ImageBuild, evaluator: Evaluator, key: str) -> ImageBuild:
    target = None if build.target is None else evaluator.text(build.target, f"{key}.target")
    return ImageBuild(
        context=_inside(evaluator.text(build.context, f"{key}.context"), f"{key}.context"),
        dockerfile=_inside(evaluator.text(build.dockerfile, f"{key}.dockerfile"), f"{key}.dockerfile"),
        target=target or None,
        arguments={name: evaluator.text(value, f"{key}.args.{name}") for name, value in build.arguments.items()},
    )


def _inside(path: str, key: str) -> str:
    normal = posixpath.normpath(path)
    if normal.startswith("/") or normal.split("/")[0] == ".." or "\0" in path:
        raise PlanError(f"{key}: expected a path inside the workspace, relative to it")
    return normal


def _port(port: str, key: str) -> str:
    try:
        read_port(port)
    except ValueError as error:
        raise PlanError(f"{key}: {error}") from None
    return port
