"""Options made of the table of settings: what `Config` knows, the command line knows, in the same words."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import click

from buildsys.config import Config, Field, InvalidConfig

Command = Callable[..., int | None]

INSTALLATION = frozenset(field.name for field in Config.fields()) - {"server_url", "token", "token_file"}
"""What concerns a process that has the API of its own."""


def config_command(
    names: Collection[str], *, fixed: Mapping[str, str] | None = None, spelling: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Give a command the settings of these names as options; its function gets the whole `Config` first.

    `fixed` settings are the command's own choice, `spelling` calls an option otherwise. A wrong setting is a usage
    error that names the option or the variable.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**options: Any) -> int | None:
            given = {name: options.pop(name) for name in names}
            try:
                config = Config.load({**given, **(fixed or {})}, os.environ)
            except InvalidConfig as error:
                raise click.UsageError(str(error)) from None
            return function(config, **options)

        wrapped: Command = command
        for field in reversed(Config.fields()):
            if field.name in names and field.option:
                wrapped = _option(field, (spelling or {}).get(field.name, field.option))(wrapped)
        return wrapped

    return decorate


def _option(field: Field, name: str) -> Callable[[Command], Command]:
    default = f"; default: {field.default}" if field.default else ""
    text = f"{field.help} Takes {field.expected}. [{field.env}{default}]"
    return (
        click.option(name, field.name, is_flag=field.flag, default=None, help=text)
        if field.flag
        else click.option(name, field.name, metavar="VALUE", default=None, help=text)
    )
