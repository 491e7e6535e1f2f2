"""Random and mutated files: each is a workflow or is refused, in moments. BUILDSYS_FUZZ_CASES says how many."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from test_workflow_file import EVERYTHING

from buildsys.core.definition import Action, Workflow
from buildsys.core.workflow_file import decode_action, decode_workflow, examine_action, examine_workflow
from buildsys.errors import WorkflowError

CASES = int(os.environ.get("BUILDSYS_FUZZ_CASES", "3000"))
CHUNKS = 10
LIMIT = 10.0
"""Seconds of this process for one file; far above what any takes, so that only a hang is found."""

SEEDS = (
    EVERYTHING,
    "on: push\njobs: {a: {runs-on: x, steps: [run: 'echo ${{ github.sha }}']}}\n",
    "steps:\n  - run: |\n      echo ${{ contains(github.ref, 'x') && steps.a.outputs.b }}\n  - script: x\n",
    "on:\n  schedule:\n    - cron: '*/5 * * * *'\n  workflow_dispatch:\n    inputs: {a: {type: choice, options: [b]}}\n"
    "jobs:\n  a: &a\n    runs-on: x\n    if: github.ref != 'x'\n    steps: [run: x]\n  b: *a\n",
    "name: x\ninputs: {a: {default: 1}}\nruns:\n  using: composite\n  steps:\n    - {run: x, shell: sh, if: '1'}\n",
)
WORDS = (
    *("on", "jobs", "steps", "run", "uses", "with", "if", "needs", "matrix", "include", "exclude", "env", "strategy"),
    *(
        "container",
        "services",
        "ports",
        "secrets",
        "inherit",
        "outputs",
        "shell",
        "concurrency",
        "permissions",
        "build",
    ),
    *("${{ ", " }}", "${{ github.event }}", "${{ secrets }}", "'", '"', "|", ">", ">-", "&a ", "*a", "!!str ", "? "),
    *("[", "]", "{", "}", ": ", "- ", ", ", "\n", "\n  ", "\n      ", "\t", "\r\n", "#", "\\", "---\n", "...", "~"),
    *("\0", "\x07", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\ud7ff", "é", "日本", "😀", "%YAML 9.9\n", "<<: *a"),
    *("null", "true", "-1", "1e999", "0x1F", "1_000", "9" * 400, ".inf", "a" * 300, "fromJSON('", "&&", "||", ".*"),
    *("./.github/workflows/a.yml", "actions/checkout@v4", "docker://x", "./x", "__a", "256", "[" * 40, "(" * 80),
)


def mutated(chance: random.Random) -> bytes:
    """A seed with some changes: cut, doubled, moved, with words of the language or bytes put in."""
    text = chance.choice(SEEDS)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        at, to = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + chance.choice((0, 1, 3, 20, 200)))
        lines = text.splitlines(keepends=True)
        match chance.randrange(6):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2:
                chance.shuffle(lines)
                text = "".join(lines)
            case 3:
                line = chance.randrange(len(lines) + 1)
                text = "".join([*lines[:line], chance.choice([*lines, "x: y\n"]), *lines[line:]])
            case _:
                text = text[:at] + chance.choice(WORDS) + text[to:]
        text = text[:100_000] or "x"
    data = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.randbytes(3) + data[at:]
    return data


def grown(chance: random.Random) -> bytes:
    """A seed's tree with some values exchanged for others, or for words, so that it is always YAML."""
    tree = yaml.load(chance.choice(SEEDS), Loader=yaml.BaseLoader)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        places = list(_places(tree))[:2000]
        holder, key = chance.choice(places)
        other, other_key = chance.choice(places)
        match chance.randrange(4):
            case 0:
                holder[key] = chance.choice((*WORDS, None, True, 7, -1.5, [], {}, [[]], {"": None}))
            case 1:
                holder[key] = json.loads(json.dumps(other[other_key]))
            case 2 if isinstance(holder, dict):
                holder[str(other_key)] = holder.pop(key)
            case _ if isinstance(holder[key], str):
                holder[key] = chance.choice((holder[key] + chance.choice(WORDS), f"${{{{ {holder[key]} }}}}"))
    return json.dumps(tree, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")[:100_000]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree, as what holds it and its key there."""
    ahead = [tree]
    while ahead:
        holder = ahead.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                ahead.append(holder[key])


def made(chance: random.Random) -> bytes:
    """Words of the language in any order, or bytes."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 300))
    return "".join(chance.choices(WORDS, k=chance.randrange(1, 60))).encode()


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.timeout(max(120, CASES))
def test_every_file_is_decoded_or_refused(chunk: int) -> None:
    chance = random.Random(chunk)
    for _ in range(CASES // CHUNKS):
        data = chance.choice((grown, grown, mutated, mutated, made))(chance)
        begun = time.process_time()
        check(data)
        assert time.process_time() - begun < LIMIT, data


def check(data: bytes) -> None:
    lines = len(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", data.decode("utf-8", "replace"))) + 1
    for examine, decode, kind in (
        (examine_workflow, decode_workflow, Workflow),
        (examine_action, decode_action, Action),
    ):
        findings = examine(data, file="ci.yml").findings
        for finding in findings:
            assert 1 <= finding.line <= lines, (data, finding)
            assert finding.column >= 1, (data, finding)
            assert finding.message, (data, finding)
        errors = [str(finding) for finding in findings if finding.severity == "error"]
        if errors:
            with pytest.raises(WorkflowError) as caught:
                decode(data, file="ci.yml")
            assert list(caught.value.errors) == errors, data
        else:
            assert isinstance(decode(data, file="ci.yml"), kind)
