"""The command itself: subcommands found without importing the others, and every ending as one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from buildsys.cli.terminal import plain
from buildsys.errors import BuildsysError

USAGE = 2
ERRORED = 5
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

CLOSED = 141
"""128 + SIGPIPE: who read our output has gone, as in `buildsys logs ... | head`."""


class Program(click.Group):
    """A group whose commands live in modules imported on use. `sources`: name -> (module:attribute, summary).

    Exit codes: what the command returns; 2 where the request cannot be met (usage, no such thing, no permission); 5
    where a part of the system failed; 130 after Ctrl-C. An expected error is one line on stderr.
    """

    def __init__(self, *, sources: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}, **attributes)
        self._sources = sources
        self.params.append(
            click.Option(["--version"], is_flag=True, is_eager=True, callback=_version, expose_value=False)
        )

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self._sources)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._sources:
            return None
        module, _, attribute = self._sources[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=list(self._sources), ctx=ctx) from None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._sources.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            with contextlib.suppress(OSError):  # so that the interpreter's own flush at exit has somewhere to go
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED
        return code

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        sys.exit(self._run(args, prog_name or self.name, extra))

    def _run(self, args: Sequence[str] | None, name: str | None, extra: dict[str, Any]) -> int:
        try:
            code = super().main(args, name, **(extra | {"standalone_mode": False}))
        except click.ClickException as error:
            error.show()
            return USAGE
        except BuildsysError as error:
            click.echo(f"buildsys: {plain(error)}", err=True)
            return USAGE if error.status < 500 else ERRORED
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED
        return code if isinstance(code, int) else 0


def _version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"buildsys {version('buildsys')}")
        ctx.exit()
