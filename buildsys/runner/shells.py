"""A step's `shell`: the command that reads its script.

    none        `bash -e {0}`, or `sh -e {0}` in an image without bash
    bash        `bash --noprofile --norc -eo pipefail {0}`
    sh          `sh -e {0}`
    python      `python {0}`, or `python3 {0}` in an image without python
    node        `node {0}`; not one of GitHub's words
    zx          `zx {0}`, or node with a `$` like that of zx in an image without zx; what `script` of a step means
    any other   a command of its own, with `{0}` where the script's path goes

The command is split into words here, as a shell would, and each word is quoted: no shell reads it as text again.

Source: `jobs.<job_id>.steps[*].shell` in GitHub's workflow syntax reference.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType

from buildsys.errors import Invalid

SHELLS: Mapping[str | None, tuple[str, ...]] = MappingProxyType(
    {
        None: ("bash -e {0}", "sh -e {0}"),
        "bash": ("bash --noprofile --norc -eo pipefail {0}",),
        "sh": ("sh -e {0}",),
        "python": ("python {0}", "python3 {0}"),
        "node": ("node {0}",),
        "zx": ("zx {0}",),
    }
)
"""The commands of each shell by its name: the first whose program is there is taken."""

NOT_BUILT_IN = frozenset({"pwsh", "powershell", "cmd"})

MISSING = 127
"""The status of a step whose shell is not there, as shells have it (POSIX)."""


def launch(shell: str | None, script: PurePath) -> list[str]:
    """Lines of `sh` that become the shell with the script. Raises `Invalid` for a shell that there is not."""
    tried = [_words(template, script) for template in SHELLS.get(shell) or (_custom(shell),)]
    commands = [(words[0], shlex.join(words)) for words in tried]
    if shell == "zx":
        commands.append(("node", f"{shlex.join(_node_as_zx())} <{shlex.quote(str(script))}"))
    lines = []
    for program, command in commands:
        lines.append(f"if command -v {shlex.quote(program)} >/dev/null 2>&1; then exec {command}; fi")
    missing = " and no ".join(program for program, _ in commands)
    lines.append(f"printf '%s\\n' {shlex.quote(f'buildsys: error: there is no {missing} here to run the step')}")
    return [*lines, f"exit {MISSING}"]


def _node_as_zx() -> list[str]:
    """Node (18.18 or newer) with our `$`, for a module that it reads from its standard input."""
    ours = base64.b64encode(Path(__file__).with_name("zx.mjs").read_bytes()).decode()
    return ["node", "--input-type=module", f"--import=data:text/javascript;base64,{ours}", "-"]


def _custom(shell: str | None) -> str:
    if shell is None or shell.strip() in NOT_BUILT_IN:
        raise Invalid(f"the shell {shell!r} is not built in; use bash, sh, python, node or zx")
    if "{0}" not in shell:
        known = ", ".join(name for name in SHELLS if name)
        raise Invalid(f"unknown shell {shell!r}: use one of {known}, or a command with {{0}} for the script")
    return shell


def _words(template: str, script: PurePath) -> list[str]:
    if "\0" in template:
        raise Invalid("the shell's command contains a NUL")
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise Invalid(f"the shell's command {template!r} cannot be split into words: {error}") from None
    return [word.replace("{0}", str(script)) for word in words]
