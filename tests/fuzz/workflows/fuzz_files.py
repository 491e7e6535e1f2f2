"""Workflow files, and what is nearly one: real ones changed at random, words of the language, bombs of YAML."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from test_workflow_file import EVERYTHING

LONGEST = 100_000
"""Characters of a changed file; only bombs are larger."""

_ROOT = Path(__file__).parents[3]
_REAL = tuple(
    path.read_text()
    for folder in ("examples", "tests", ".github")
    for kind in ("*.yml", "*.yaml")
    for path in sorted((_ROOT / folder).rglob(kind))
)
SEEDS = (
    *_REAL,
    EVERYTHING,
    "on: push\njobs: {a: {runs-on: x, steps: [run: 'echo ${{ github.sha }}']}}\n",
    "steps:\n  - run: |\n      echo ${{ contains(github.ref, 'x') && steps.a.outputs.b }}\n  - script: x\n",
    "on:\n  schedule:\n    - cron: '*/5 * * * *'\n  workflow_dispatch:\n    inputs: {a: {type: choice, options: [b]}}\n"
    "jobs:\n  a: &a\n    runs-on: x\n    if: github.ref != 'x'\n    steps: [run: x]\n  b: *a\n",
    "name: x\ninputs: {a: {default: 1}}\nruns:\n  using: composite\n  steps:\n    - {run: x, shell: sh, if: '1'}\n",
    "triggers: {github: {events: [{eventName: push, filter: 'body.title in [\"x\"] or not body.json'}]}}\n"
    "steps: [run: x]\n",
    "on: {push: {branches: ['**'], paths: ['src/**', '!**.md'], tags: ['v?']}, pull_request: {types: [opened]}}\n"
    "concurrency: {group: '${{ github.ref }}', cancel-in-progress: true}\n"
    "jobs:\n"
    "  a: {runs-on: x, outputs: {o: '${{ steps.s.outputs.o }}'}, steps: [{id: s, run: x}]}\n"
    "  b:\n    needs: a\n    if: always() && needs.a.result != 'failure'\n    runs-on: '${{ matrix.os }}'\n"
    "    strategy: {fail-fast: false, max-parallel: 2, matrix: {os: '${{ fromJSON(needs.a.outputs.o) }}', n: [1, 2]}}\n"
    "    container: {image: '${{ matrix.os }}:${{ matrix.n }}', options: --cpus 1, env: {A: '${{ github.event }}'}}\n"
    "    timeout-minutes: ${{ matrix.n }}\n    continue-on-error: ${{ matrix.n == 1 }}\n    steps: [run: x]\n"
    "  c: {needs: [a, b], uses: ./.github/workflows/called.yml, with: {who: '${{ needs.a.outputs.o }}'}, "
    "secrets: inherit}\n",
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
    *(
        "./.github/workflows/called.yml",
        "./.github/workflows/ci.yml",
        "${{ fromJSON(github.event.json) }}",
        "**/[a-z]+",
    ),
    *("${{ fromJSON(vars.MANY) }}", "${{ toJSON(github) }}", "${{ needs.*.outputs }}", "failure()", "cancelled()"),
    *(
        "!!python/object/apply:os.system ",
        "!<tag:x> ",
        "*/5 * * * *",
        "--privileged",
        "0",
        "1" * 19,
        "${{ vars.TEXT }}",
    ),
)
"""What is put anywhere."""

EXPRESSIONS = (
    *("x", "${{ github.event.json }}", "${{ vars.TEXT }}", "${{ matrix.n }}", "${{ needs.a.outputs.o }}", ""),
    *("${{ fromJSON(github.event.json) }}", "${{ fromJSON(needs.a.outputs.o) }}", "${{ toJSON(github.event) }}"),
    *("${{ github.event.pull_request.title }}", "${{ contains(needs.*.result, 'failure') }}", "a ${{ github }} b"),
    *("${{ join(github.event.commits.*.body, vars.TEXT) }}", "${{ format(vars.TEXT, github.ref, 1) }}", "1"),
)
JOB: dict[str, tuple[Any, ...]] = {
    "name": EXPRESSIONS,
    "if": (
        "always()",
        "failure()",
        "!cancelled()",
        "github.event.title",
        "fromJSON(vars.TEXT)",
        "needs.a.result == 'x'",
    ),
    "runs-on": ("x", ["x", "y"], "${{ vars.TEXT }}", "${{ fromJSON(vars.MANY) }}", "${{ matrix.n }}"),
    "timeout-minutes": (1, 0.5, "${{ fromJSON(vars.TEXT) }}", "${{ matrix.n }}"),
    "continue-on-error": (True, "${{ vars.TEXT }}", "${{ matrix.n == 1 }}", "${{ fromJSON(vars.TEXT) }}"),
    "env": ({"A": "${{ vars.TEXT }}"}, "${{ fromJSON(vars.TEXT) }}"),
    "outputs": ({"o": "${{ steps.s.outputs.o }}"},),
    "concurrency": (
        *EXPRESSIONS[:5],
        {"group": "${{ vars.TEXT }}", "cancel-in-progress": "${{ fromJSON(vars.TEXT) }}"},
    ),
    "strategy": (
        {"matrix": {"n": [1, "a", None, {"b": [1]}]}, "fail-fast": "${{ vars.TEXT == 'x' }}"},
        {"matrix": {"n": "${{ fromJSON(vars.MANY) }}", "include": [{"n": 1, "m": 2}, {"x": 1}]}, "max-parallel": 2},
        {"matrix": "${{ fromJSON(needs.a.outputs.o) }}", "max-parallel": "${{ fromJSON(vars.TEXT) }}"},
        {"matrix": {"os": "${{ fromJSON(github.event.json) }}", "exclude": "${{ fromJSON(vars.TEXT) }}"}},
        {"matrix": {"include": "${{ fromJSON(needs.b.outputs.o) }}"}},
        {"matrix": {f"a{n}": [1, 2, 3] for n in range(3)}},
    ),
    "container": (
        *("alpine", "${{ vars.TEXT }}", {"image": "${{ matrix.n }}", "options": "--cpus 1 ${{ vars.TEXT }}"}),
        *({"image": "i", "volumes": ["${{ vars.TEXT }}:/x"]}, {"build": {"context": "${{ github.event.title }}"}}),
    ),
    "services": (
        {"db": {"image": "${{ vars.TEXT }}", "ports": ["${{ vars.TEXT }}", "80:80"]}},
        {"db": {"image": "postgres", "options": "${{ github.event.body }}"}},
    ),
    "defaults": ({"run": {"shell": "${{ vars.TEXT }}", "working-directory": "${{ github.event.title }}"}},),
}
STEPS: tuple[dict[str, Any], ...] = (
    *({"run": expression, "name": "${{ github.event.title }}"} for expression in EXPRESSIONS if expression),
    {"run": "x", "working-directory": "${{ vars.TEXT }}", "timeout-minutes": "${{ fromJSON(vars.TEXT) }}"},
    {"run": "x", "if": "hashFiles(vars.TEXT, github.event.json) != '' || true", "shell": "sh -c 'x' {0}"},
    {"run": "x", "continue-on-error": "${{ fromJSON(vars.TEXT) }}"},
    {"uses": "actions/checkout@v4", "with": {"ref": "${{ vars.TEXT }}", "path": "${{ github.event.title }}"}},
    {"uses": "./none", "with": {"x": "${{ toJSON(github) }}"}},
)
WHOLE: dict[str, tuple[Any, ...]] = {
    "name": ("x", "", "\u202e\u0000"),
    "run-name": ("${{ github.event.title }}", "${{ fromJSON(vars.TEXT) }}", "${{ github.event.json }} ${{ inputs.a }}"),
    "env": ({"A": "${{ vars.TEXT }}"},),
    "concurrency": ("${{ github.event.title }}", {"group": "g", "cancel-in-progress": "${{ fromJSON(vars.TEXT) }}"}),
}
EVENTS: tuple[Any, ...] = (
    *("push", ["push", "pull_request"], "workflow_dispatch", {"push": {"branches": ["**"], "paths": ["**", "!x"]}}),
    *(
        {"workflow_dispatch": {"inputs": {"a": {"type": "string", "default": "x"}}}},
        {"schedule": [{"cron": "* * * * *"}]},
    ),
    {"pull_request": {"branches-ignore": ["x/**"], "types": ["opened"]}},
)


def any_file(chance: random.Random) -> bytes:
    """A file that may be a workflow, and often is nearly one."""
    make: Callable[[random.Random], bytes] = chance.choice(
        (_sound,) * 8 + (_grown,) * 5 + (_changed,) * 5 + (_words,) + (_bomb,)
    )
    return make(chance)


def _sound(chance: random.Random) -> bytes:
    """A workflow by the grammar, whose expressions may come out as anything."""
    jobs: dict[str, Any] = {}
    for id in "abcdef"[: chance.randint(1, 6)]:
        job: dict[str, Any] = {key: chance.choice(values) for key, values in JOB.items() if chance.random() < 0.25}
        job["needs"] = [other for other in jobs if chance.random() < 0.4]
        if chance.random() < 0.2:
            kept = {key: job[key] for key in job if key in ("name", "if", "needs", "strategy", "concurrency")}
            jobs[id] = {**kept, "uses": "./.github/workflows/called.yml", "with": {"who": chance.choice(EXPRESSIONS)}}
        else:
            steps = [{"id": "s", **chance.choice(STEPS), "env": {"A": chance.choice(EXPRESSIONS)}} for _ in "ab"]
            jobs[id] = {"runs-on": "x", **job, "steps": [*steps[:1], *({**step, "id": "t"} for step in steps[1:])]}
    whole = {key: chance.choice(values) for key, values in WHOLE.items() if chance.random() < 0.3}
    text = json.dumps({"on": chance.choice(EVENTS), **whole, "jobs": jobs})
    if chance.random() < 0.3:
        text = text.replace(chance.choice(("needs", "github", "x", "1", "true", "main")), chance.choice(WORDS), 1)
    return text.encode()


def _changed(chance: random.Random) -> bytes:
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
        text = text[:LONGEST] or "x"
    data = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.randbytes(3) + data[at:]
    return text.encode("utf-16") if chance.random() < 0.005 else data


def _grown(chance: random.Random) -> bytes:
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
    return json.dumps(tree, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")[:LONGEST]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree, as what holds it and its key there."""
    ahead = [tree]
    while ahead:
        holder = ahead.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                ahead.append(holder[key])


def _words(chance: random.Random) -> bytes:
    """Words of the language in any order, or bytes."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 300))
    return "".join(chance.choices(WORDS, k=chance.randrange(1, 60))).encode()


def _bomb(chance: random.Random) -> bytes:
    """Small text that stands for much, or much text where little is meant."""
    size = int(10 ** chance.uniform(0, 5))
    job = "{runs-on: x, steps: [run: x]}"
    match chance.randrange(14):
        case 0:  # a billion laughs, anywhere that takes any value
            layers = [f"  - &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(chance.randint(2, 12))]
            made = f"x: &a0 [lol, lol]\ny:\n{''.join(layers)}on: push\njobs: {{a: {job}}}\n"
        case 1:
            made = f"on: push\nenv: &e {{A: x}}\njobs: {{a: &j {job}, b: {{<<: *j, env: {{<<: [*e, *e]}}}}}}\n"
        case 2:
            made = "a: &a [" * min(size, 5000) + "*a" + "]" * chance.choice((0, min(size, 5000)))
        case 3:
            made = chance.choice(("[", "{a: ", "- ", "? ", "{? ", "&a ", "!!map {")) * min(size, 50_000)
        case 4:
            made = f"on: push\nname: {chance.choice('aé😀 .')}{'x' * (size * 6)}\njobs: {{a: {job}}}\n"
        case 5:
            made = f"on: push\njobs: {{a: {{runs-on: x, steps: [run: '{'${{ x }}' * size}']}}}}\n"
        case 6:
            made = f"on: push\njobs: {{{', '.join(f'j{n}: {job}' for n in range(size))}}}\n"
        case 7:  # every job needs all before it
            count = min(size, 150)
            names = [
                f"j{n}: {{needs: {[f'j{m}' for m in range(n)]}, runs-on: x, steps: [run: x]}}" for n in range(count)
            ]
            made = f"on: push\njobs: {{{', '.join(names)}}}\n"
        case 8:
            axes = ", ".join(f"a{n}: {list(range(chance.randint(1, 30)))}" for n in range(chance.randint(1, 8)))
            more = ", ".join(f"{{a0: {n}, b{n}: x}}" for n in range(min(size, 400)))
            made = (
                f"on: push\njobs: {{a: {{strategy: {{max-parallel: 3, matrix: {{{axes}, include: [{more}]}}}}, "
                "runs-on: x, steps: [run: x]}}\n"
            )
        case 9:
            pattern = chance.choice(("*a", "**", "a?", "[a-z]+", "**/", "[é😀]+", "\\\\*")) * size
            many = json.dumps([pattern[:900]] * 50)
            made = f"on: {{push: {{branches: ['{pattern}'], paths: {many}}}}}\njobs: {{a: {job}}}\n"
        case 10:
            cron = chance.choice(("* ", "*/1 ", "0-59,", "9" * 50, "1-", ", ", "JAN ")) * size
            made = f"on: {{schedule: [{{cron: '{cron}'}}]}}\njobs: {{a: {job}}}\n"
        case 11:
            made = f'on: push\njobs: {{a: {{runs-on: x, if: "{"!" * size}{"(" * min(size, 99)}x", steps: [run: x]}}}}\n'
        case 12:
            call = {
                "uses": "./.github/workflows/called.yml",
                "strategy": {"matrix": {"n": list(range(min(size, 300)))}},
            }
            made = json.dumps({"on": "push", "jobs": {f"j{n}": call for n in range(chance.randint(1, 9))}})
        case _:
            made = f"on: push\n{'# x' * size}\njobs:\n  a: {job}\n{'  x: {}' * chance.randint(0, 3)}{chr(10) * size}"
    return made.encode()[: 600 << 10]
