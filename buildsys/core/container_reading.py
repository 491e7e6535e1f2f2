"""The container of a job, and those of its services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from buildsys.core.container_options import read_options
from buildsys.core.definition import Container, Credentials, ImageBuild, Template
from buildsys.core.expression_tokens import OPEN
from buildsys.core.findings import Rule
from buildsys.core.plan_values import PlanError
from buildsys.core.ports import read_port
from buildsys.core.step_reading import ID
from buildsys.core.template_reading import TemplateReader
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Scalar, Sequence

_CONTAINER = ("image", "credentials", "env", "ports", "volumes", "options")
_SERVICE_LATER = ("command", "entrypoint")
_BUILD = ("context", "dockerfile", "target", "args")

_JOB = "jobs.<job_id>.container"
_SERVICES = "jobs.<job_id>.services"
_SERVICE = f"{_SERVICES}.<service_id>"

_TRUSTED = "for projects that an administrator trusts"


def read_container(reader: TemplateReader, field: Field) -> Container:
    """A job's container: an image's name, an expression for one, or a mapping with an `image` or a `build`."""
    if not isinstance(field.value, Mapping):
        return Container(image=_image(reader, field, place=f"{_JOB}.image"))
    fields = reader.fields(field.value, field.path, known=(*_CONTAINER, "build"))
    if "image" in fields and "build" in fields:
        reader.error(fields["build"].key, fields["build"].path, "a container has either 'image' or 'build'")
    elif "image" not in fields and "build" not in fields:
        reader.error(field.key, field.path, "missing 'image'")
    return _container(reader, fields, place=_JOB, image=f"{_JOB}.image", within=_JOB)


def read_services(reader: TemplateReader, field: Field) -> dict[str, Container]:
    services = {}
    taken: dict[tuple[int, str], str] = {}
    for service in reader.entries(field.value, field.path, expected="a mapping of services"):
        if not ID.fullmatch(service.name):
            rule = "a service's name is at most 100 letters, digits, - and _, and begins with a letter or _"
            reader.error(service.key, service.path, rule)
        services[service.name] = _service(reader, service, taken)
    return services


def _service(reader: TemplateReader, field: Field, taken: dict[tuple[int, str], str]) -> Container:
    if not isinstance(field.value, Mapping):
        return Container(image=_image(reader, field, place=_SERVICES))
    fields = reader.fields(field.value, field.path, known=_CONTAINER, later=_SERVICE_LATER)
    if "image" not in fields:
        reader.error(field.key, field.path, "missing 'image'")
    if "ports" in fields:
        _check_apart(reader, fields["ports"], field.name, taken)
    return _container(reader, fields, place=_SERVICES, image=_SERVICES, within=_SERVICE)


def _container(reader: TemplateReader, fields: dict[str, Field], *, place: str, image: str, within: str) -> Container:
    """`place` is that of the keys that have none of their own; credentials and variables have theirs `within`."""
    return Container(
        image=_image(reader, fields["image"], place=image, empty=place == _SERVICES) if "image" in fields else None,
        build=_build(reader, fields["build"]) if "build" in fields else None,
        credentials=_credentials(reader, fields["credentials"], place=f"{within}.credentials")
        if "credentials" in fields
        else None,
        env=reader.variables(fields.get("env"), place=f"{within}.env.<env_id>"),
        ports=_ports(reader, fields["ports"], place=place) if "ports" in fields else (),
        volumes=_volumes(reader, fields["volumes"], place=place) if "volumes" in fields else (),
        options=_options(reader, fields["options"], place=place) if "options" in fields else "",
    )


def _image(reader: TemplateReader, field: Field, *, place: str, empty: bool = False) -> Template:
    """That of a service may be empty, as GitHub documents: then it does not start."""
    image = reader.template(field, place=place, expected="an image", empty=empty)
    if OPEN not in image and (image.startswith("-") or re.search(r"[\x00-\x20\x7f]", image)):
        reader.error(field.value, field.path, f"not the name of an image: {image[:60]!r}")
    return image


def _build(reader: TemplateReader, field: Field) -> ImageBuild:
    fields = reader.fields(field.value, field.path, known=_BUILD)
    texts = {
        name: reader.template(fields[name], place=_JOB)
        for name in ("context", "dockerfile", "target")
        if name in fields
    }
    arguments = fields.get("args")
    return ImageBuild(
        context=texts.get("context", "."),
        dockerfile=texts.get("dockerfile", "Dockerfile"),
        target=texts.get("target"),
        arguments=reader.mapped(arguments, place=_JOB, expected="a mapping of arguments") if arguments else {},
    )


def _credentials(reader: TemplateReader, field: Field, *, place: str) -> Credentials:
    fields = reader.fields(field.value, field.path, known=("username", "password"))
    texts = {}
    for name in ("username", "password"):
        if name in fields:
            texts[name] = reader.template(fields[name], place=place)
        elif isinstance(field.value, Mapping):
            reader.error(field.key, field.path, f"missing {name!r}")
    return Credentials(username=texts.get("username", ""), password=texts.get("password", ""))


def _ports(reader: TemplateReader, field: Field, *, place: str) -> tuple[Template, ...]:
    ports = _list(reader, field, place=place, expected="a list of ports")
    for item, path in _written(field):
        try:
            read_port(item.text)
        except ValueError as error:
            reader.error(item, path, str(error))
    return ports


def _written(field: Field) -> Iterator[tuple[Scalar, str]]:
    """The items of a list that hold no expression, and their paths."""
    items = field.value.items if isinstance(field.value, Sequence) else ()
    for number, item in enumerate(items):
        if isinstance(item, Scalar) and item.text and OPEN not in item.text:
            yield item, f"{field.path}[{number}]"


def _check_apart(reader: TemplateReader, ports: Field, service: str, taken: dict[tuple[int, str], str]) -> None:
    """No port of localhost can be there twice; `taken` says which service has it."""
    for item, path in _written(ports):
        with suppress(ValueError):
            port = read_port(item.text)
            if port.outer is None:
                continue
            if other := taken.get((port.outer, port.protocol)):
                reader.error(item, path, f"port {port.outer} of localhost is that of the service {other!r} already")
            taken[port.outer, port.protocol] = service


def _volumes(reader: TemplateReader, field: Field, *, place: str) -> tuple[Template, ...]:
    volumes = _list(reader, field, place=place, expected="a list of volumes")
    if volumes:
        reader.error(field.value, field.path, f"volumes are {_TRUSTED}", rule=Rule.TRUST)
    return volumes


def _options(reader: TemplateReader, field: Field, *, place: str) -> Template:
    """Options are refused for good or for most projects; which, is only known of those that are written out."""
    options = reader.template(field, place=place, empty=True)
    if OPEN in options:
        return options
    if refused := _refused(options, field, place, trusted=True):
        reader.error(field.value, field.path, refused, rule=Rule.UNSUPPORTED)
    elif refused := _refused(options, field, place, trusted=False):
        reader.error(field.value, field.path, refused, rule=Rule.TRUST)
    return options


def _refused(options: str, field: Field, place: str, *, trusted: bool) -> str | None:
    try:
        read_options(options, field.path, service=place == _SERVICES, trusted=trusted)
    except PlanError as error:
        return str(error).removeprefix(f"{field.path}: ")
    return None


def _list(reader: TemplateReader, field: Field, *, place: str, expected: str) -> tuple[Template, ...]:
    return tuple(
        reader.template(item, place=place, expected="a text") for item in reader.items(field, expected=expected)
    )
