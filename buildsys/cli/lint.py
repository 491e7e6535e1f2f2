"""`buildsys lint`: what is wrong with workflow files, before anything runs."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from buildsys.cli.terminal import Terminal, harmless, plain
from buildsys.core.findings import Finding
from buildsys.core.yaml_places import Lines
from buildsys.core.yaml_source import MAX_BYTES

if TYPE_CHECKING:
    from buildsys.lint import Linted

WIDTH = 120
"""Characters of a line that are shown, around the place."""

STDIN = Path("<stdin>")
"""How a workflow without a file is called."""

_COLORS = {"error": "red", "warning": "yellow"}


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings as well.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")
def lint(files: tuple[Path, ...], strict: bool, as_json: bool) -> int:
    """Say what is wrong with workflow files, and what may be.

    FILE is a workflow or an action.yml, a folder with workflows, or - for a workflow on stdin. Without one: all
    workflows of the repository in the current folder. The local actions and workflows that they use are examined with
    them. The exit code is 0 where there is no error, else 1.

    Errors are what a build would be refused for: unknown keys, expressions that cannot be read or use what their place
    does not have, and needs that cannot be met. Warnings are jobs that fail since they need what is not built in, such
    as an action of another repository, and what runs, but hardly as meant: properties that do not exist, comparisons
    that never hold, jobs that never run, scripts that strangers can write a part of.

    \b
    Examples:
      buildsys lint
      buildsys lint .github/workflows/ci.yml --strict
      buildsys lint --json
      git show main:.github/workflows/ci.yml | buildsys lint -
    """
    from buildsys.lint import lint as examine

    chosen = [path for file in files or (Path(),) for path in _chosen(file)]
    texts = {STDIN: sys.stdin.buffer.read(MAX_BYTES + 1)} if STDIN in chosen else {}
    try:
        linted = examine(chosen, texts=texts)
    except OSError as error:
        raise click.FileError(str(error.filename), error.strerror) from None
    count = Counter(finding.severity for finding in linted.findings)
    terminal = Terminal(json=as_json, environ=os.environ)
    show(terminal, linted, linted.findings)
    if not as_json:
        terminal.note(
            f"{_number(len(linted.sources), 'file')}: {_number(count['error'], 'error')}, "
            f"{_number(count['warning'], 'warning')}"
        )
    return int(count["error"] > 0 or (strict and count["warning"] > 0))


def _chosen(given: Path) -> Sequence[Path]:
    """The files that are meant."""
    from buildsys.lint import workflows_in

    if given == Path("-"):
        return [STDIN]
    if not given.is_dir():
        return [given]
    if found := workflows_in(given):
        return found
    raise click.UsageError(
        f"There is no workflow in {'this folder' if given == Path() else plain(given)}: no .buildsys.yml, "
        ".buildsys/*.yml or .github/workflows/*.yml. Give a FILE, or go to a repository's folder."
    )


def show(terminal: Terminal, linted: Linted, findings: Sequence[Finding]) -> None:
    """Those of the findings, for people or as JSON."""
    if terminal.json:
        known = [{**msgspec.to_builtins(finding), "severity": finding.severity} for finding in findings]
        terminal.answer({"files": list(linted.sources), "findings": known})
        return
    lines = {file: Lines(source.decode("utf-8-sig", "replace")) for file, source in linted.sources.items()}
    for finding in findings:
        _show(terminal, finding, lines[finding.file].text(finding.line))


def _show(terminal: Terminal, finding: Finding, line: str) -> None:
    """The finding, its line, and a caret under the place."""
    where = plain(f"{finding.file}:{finding.line}:{finding.column}:")
    severity = click.style(finding.severity, fg=_COLORS[finding.severity], bold=True)
    message = plain(f"{finding.path}: {finding.message}" if finding.path else finding.message)
    terminal.say(f"{where} {severity}: {message} {click.style(f'[{finding.rule}]', dim=True)}")
    start = max(0, finding.column - 1 - WIDTH // 2)
    shown = line[start : start + WIDTH]
    if shown.strip():
        margin = f"{finding.line:>6} | "
        blank = "".join(_blank(character) for character in line[start : finding.column - 1])
        terminal.say(margin + harmless(shown, color=False))
        terminal.say(f"{'':>6} | {blank}" + click.style("^", fg=_COLORS[finding.severity], bold=True))


def _blank(character: str) -> str:
    """What is as wide as a character on a terminal, and shows nothing; of one that is left out, nothing."""
    if character == "\t":
        return character
    if unicodedata.combining(character) or not harmless(character, color=False):
        return ""
    return "  " if unicodedata.east_asian_width(character) in "WF" else " "


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' if count != 1 else ''}"
