"""How `on` is read: what it becomes, and what is wrong with it and where. A `‸` marks the place that is named.

A sentence is of GitHub's workflow syntax reference or its list of events, told in our words; "Ours" is where both are
silent.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from buildsys.core.definition import CallInterface, Events, Filter, Input, Schedule
from buildsys.core.event_kinds import KINDS
from buildsys.core.template_reading import TemplateReader
from buildsys.core.workflow_on import read_events
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, parse


def read(text: str) -> tuple[Events, list[str]]:
    """`on` and all that is wrong with it."""
    source = f"on:{text}"
    root = parse(source)
    assert isinstance(root, Mapping)
    key, value = root.entries[0]
    reader = TemplateReader(file="ci.yml", source=source)
    events = read_events(reader, Field(path="on", key=key, value=value))
    return events, [str(finding).removeprefix("ci.yml:") for finding in reader.findings()]


def named(*names: str, **more: Any) -> Events:
    return Events(filters={name: Filter() for name in names}, **more)


def one(event: str, **filter: Any) -> Events:
    return Events(filters={event: Filter(**filter)})


def dispatch(**inputs: Input) -> Events:
    return named("workflow_dispatch", dispatch=inputs)


def call(**interface: Any) -> Events:
    return named("workflow_call", call=CallInterface(**interface))


READ: dict[str, list[tuple[str, Events]]] = {
    "on: a single event, several, or a mapping": [
        (" push", named("push")),
        (" [push, fork]", named("push", "fork")),
        ("\n- push\n- workflow_dispatch", named("push", "workflow_dispatch")),
        (" {push: , fork: }", named("push", "fork")),
        (" {push: {}}", named("push")),
        (" {push: null, pull_request: ~}", named("push", "pull_request")),
        (" [push, push]", named("push")),
        (" [workflow_call, push]", named("workflow_call", "push", call=CallInterface())),
    ],
    "on.types: one activity type or a list": [
        (" {issues: {types: opened}}", one("issues", types=("opened",))),
        (" {label: {types: [created, edited]}}", one("label", types=("created", "edited"))),
        (" {pull_request: {types: [closed, enqueued]}}", one("pull_request", types=("closed", "enqueued"))),
        (" {repository_dispatch: {types: [anything at all]}}", one("repository_dispatch", types=("anything at all",))),
    ],
    "on.push: branches, tags and paths, or those to ignore": [
        (
            " {push: {branches: [main, 'r/**'], tags: v1.*, paths: ['**.js']}}",
            one("push", branches=("main", "r/**"), tags=("v1.*",), paths=("**.js",)),
        ),
        (
            " {push: {branches-ignore: x, tags-ignore: [y], paths-ignore: [z]}}",
            one("push", branches_ignore=("x",), tags_ignore=("y",), paths_ignore=("z",)),
        ),
        (" {push: {branches: ['r/**', '!r/x']}}", one("push", branches=("r/**", "!r/x"))),
        (" {push: {branches-ignore: ['!main']}}", one("push", branches_ignore=("!main",))),
        (" {push: {branches: [1.10, true, 0x1]}}", one("push", branches=("1.1", "true", "1"))),
        (" {push: {branches: []}}", one("push", branches=())),
    ],
    "on.pull_request: branches and paths, or those to ignore": [
        (
            " {pull_request: {branches: [main], paths-ignore: ['docs/**']}}",
            one("pull_request", branches=("main",), paths_ignore=("docs/**",)),
        ),
        (" {pull_request_target: {branches-ignore: [x]}}", one("pull_request_target", branches_ignore=("x",))),
        (" {merge_group: {branches: [main]}}", one("merge_group", branches=("main",))),
    ],
    "on.workflow_run: the names of workflows, types and branches": [
        (
            " {workflow_run: {workflows: [Run Tests], types: [completed], branches: [main]}}",
            one("workflow_run", workflows=("Run Tests",), types=("completed",), branches=("main",)),
        ),
    ],
    "image_version: patterns of names and versions": [
        (" {image_version: {names: [A, B], versions: [1.*, 2.*]}}", named("image_version")),
    ],
    "on.schedule: crons, and the time zone of each": [
        (
            " {schedule: [{cron: '30 5,17 * * *'}, {cron: 0 9 * * MON-FRI, timezone: America/New_York}]}",
            named(
                "schedule",
                schedules=(
                    Schedule(cron="30 5,17 * * *"),
                    Schedule(cron="0 9 * * MON-FRI", timezone="America/New_York"),
                ),
            ),
        ),
    ],
    "on.workflow_dispatch.inputs: types, and what each says": [
        (" {workflow_dispatch: {inputs: }}", dispatch()),
        (" {workflow_dispatch: {inputs: {tag: }}}", dispatch(tag=Input())),
        (
            " {workflow_dispatch: {inputs: {level: {description: Log level, required: true, default: warning, "
            "type: choice, options: [info, warning]}}}}",
            dispatch(
                level=Input(
                    type="choice",
                    description="Log level",
                    required=True,
                    default="warning",
                    options=("info", "warning"),
                )
            ),
        ),
        (
            " {workflow_dispatch: {inputs: {a-b: {type: boolean, default: true}, _n: {type: number, default: 5}}}}",
            dispatch(**{"a-b": Input(type="boolean", default=True), "_n": Input(type="number", default=5.0)}),
        ),
        (
            " {workflow_dispatch: {inputs: {x: {type: boolean, default: 'false'}, y: {type: number, default: '-1'}}}}",
            dispatch(x=Input(type="boolean", default=False), y=Input(type="number", default=-1.0)),
        ),
        (
            " {workflow_dispatch: {inputs: {v: {default: 1.10}, w: {default: ''}, e: {type: environment}}}}",
            dispatch(v=Input(default="1.1"), w=Input(default=""), e=Input(type="environment")),
        ),
        (
            " {workflow_dispatch: {inputs: {c: {type: choice, options: ['', 1.0, true], default: ''}}}}",
            dispatch(c=Input(type="choice", options=("", "1", "true"), default="")),
        ),
    ],
    "on.workflow_call: typed inputs, outputs with values, secrets that may be required": [
        (" {workflow_call: }", call()),
        (
            " {workflow_call: {inputs: {user: {description: Who, default: jo, required: false, type: string}}}}",
            call(inputs={"user": Input(description="Who", default="jo")}),
        ),
        (
            " {workflow_call: {inputs: {ref: {type: string, default: '${{ github.ref }}'}}}}",
            call(inputs={"ref": Input(default="${{ github.ref }}")}),
        ),
        (
            " {workflow_call: {outputs: {one: {description: First, value: '${{ jobs.a.outputs.b }}'}}}}",
            call(outputs={"one": "${{ jobs.a.outputs.b }}"}),
        ),
        (
            " {workflow_call: {secrets: {access-token: {description: T, required: true}, other: }}}",
            call(secrets={"access-token": True, "other": False}),
        ),
    ],
}

ERRORS: dict[str, list[tuple[str, str]]] = {
    "on: names one of GitHub's events": [
        (" ‸psh", "on: unknown event 'psh'; did you mean 'push'?"),
        (" [push, ‸pulls]", "on[1]: unknown event 'pulls'"),
        (" {‸Push: }", "on.Push: unknown event 'Push'; did you mean 'push'?"),
        (" {‸pull_request_comment: }", "unknown event 'pull_request_comment'; it is called 'issue_comment'"),
    ],
    "Ours: there is at least one event": [
        ("‸", "on: expected an event, a list or a mapping of events, found nothing"),
        (" ‸[]", "on: expected at least one event"),
        (" ‸{}", "on: expected at least one event"),
        (" [push, ‸[fork]]", "on[1]: expected an event, a list or a mapping of events, found a list"),
        (" {push: , ‸push: }", "on.push: stands here again; the first is on line 1"),
    ],
    "on: an event has the filters that it has": [
        (" {push: ‸main}", "on.push: expected a mapping, found 'main'"),
        (" {push: {‸branch: main}}", "on.push.branch: push has no such filter; did you mean 'branches'?"),
        (
            " {push: {‸types: [opened]}}",
            "on.push.types: push has no such filter; it has branches, branches-ignore, tags",
        ),
        (
            " {pull_request: {‸tags: [v1]}}",
            "on.pull_request.tags: pull_request has no such filter; it has types, branches",
        ),
        (" {issues: {‸branches: [main]}}", "on.issues.branches: issues has no such filter; it has types"),
        (" {create: {‸branches: [main]}}", "on.create.branches: create has no such filter; it has none"),
    ],
    "on.types: a type is one of the event's": [
        (
            " {issues: {types: [opened, ‸opend]}}",
            "on.issues.types[1]: issues has no type 'opend'; did you mean 'opened'?",
        ),
        (" {watch: {types: ‸x}}", "on.watch.types: watch has no type 'x'; there are started"),
        (" {issues: {types: ‸[]}}", "on.issues.types: expected at least one type"),
        (" {issues: {types: [‸{}]}}", "on.issues.types[0]: expected a type or a list of them, found a mapping"),
        (" {repository_dispatch: {types: [‸" + "x" * 101 + "]}}", "a type is at most 100 characters"),
    ],
    "on.push: a filter and its -ignore cannot stand together": [
        (
            " {push: {branches: [a], ‸branches-ignore: [b]}}",
            "on.push.branches-ignore: cannot stand beside 'branches'; write a pattern with '!' there",
        ),
        (" {push: {‸tags-ignore: [a], tags: [b]}}", "cannot stand beside 'tags'"),
        (" {pull_request: {paths: [a], ‸paths-ignore: [b]}}", "cannot stand beside 'paths'"),
        (" {workflow_run: {workflows: [a], branches: [a], ‸branches-ignore: [b]}}", "cannot stand beside 'branches'"),
    ],
    "on.push: with a negative pattern there must be one without": [
        (" {push: {branches: ‸['!a']}}", "on.push.branches: a pattern with '!' only takes away: add one without it"),
        (" {push: {paths: ‸'!a'}}", "on.push.paths: a pattern with '!' only takes away"),
        (" {push: {tags: ‸['!a', '!b']}}", "on.push.tags: a pattern with '!' only takes away"),
    ],
    "Cheat sheet: a pattern is well formed": [
        (" {push: {branches: [main, ‸'[x']}}", "on.push.branches[1]: '[' without a ']'"),
        (" {push: {paths: ‸'?x'}}", "on.push.paths: '?' must follow a character"),
        (" {push: {branches: [‸'!+', a]}}", "'+' must follow a character"),
        (" {push: {branches: [‸'']}}", "on.push.branches[0]: expected a pattern or a list of them, found nothing"),
        (" {push: {branches: ‸}}", "on.push.branches: expected a pattern or a list of them, found nothing"),
        (" {push: {branches: ‸{a: b}}}", "on.push.branches: expected a pattern or a list of them, found a mapping"),
        (" {push: {branches: [‸'${{ vars.x }}']}}", "expressions are not supported here"),
        (" {image_version: {names: [‸'[']}}", "on.image_version.names[0]: '[' without a ']'"),
        (" {push: {paths: ‸[" + f"{'x' * 1000}, " * 66 + "]}}", "the patterns have more than 65,536 characters"),
    ],
    "on.schedule: a list of crons": [
        (" ‸schedule", "on: expected a list of crons such as [{cron: '30 4 * * 1'}], found nothing"),
        (" [push, ‸schedule]", "on[1]: expected a list of crons"),
        (
            " {schedule: ‸'0 4 * * *'}",
            "on.schedule: expected a list of crons such as [{cron: '30 4 * * 1'}], found '0 4",
        ),
        (" {schedule: ‸{cron: '0 4 * * *'}}", "on.schedule: expected a list of crons"),
        (" {schedule: ‸[]}", "on.schedule: expected at least one cron"),
        (" {schedule: [‸0 4 * * *]}", "on.schedule[0]: expected a mapping, found '0 4 * * *'"),
        (" {schedule: [‸{}]}", "on.schedule[0]: expected a 'cron' such as '30 4 * * 1'"),
        (" {schedule: [{cron: ‸}]}", "on.schedule[0].cron: expected a cron such as '30 4 * * 1', found nothing"),
        (" {schedule: [{cron: ‸'0 25 * * *'}]}", "on.schedule[0].cron: hour: expected *, 0-23, found '25'"),
        (" {schedule: [{cron: ‸'@daily'}]}", "on.schedule[0].cron: GitHub has no @daily; write '0 0 * * *'"),
        (" {schedule: [{cron: 0 4 * * *, ‸zone: UTC}]}", "on.schedule[0].zone: unknown key"),
        (
            " {schedule: [{cron: 0 4 * * *, timezone: ‸Mars}]}",
            "on.schedule[0].timezone: 'Mars' is not an IANA time zone such as Europe/Berlin",
        ),
    ],
    "on.workflow_run: it names workflows": [
        (
            " {‸workflow_run: {types: [completed]}}",
            "on.workflow_run: expected 'workflows', the names of those whose runs",
        ),
        (" ‸workflow_run", "on: expected 'workflows'"),
        (" {workflow_run: {workflows: ‸}}", "expected a workflow's name or a list of them, found nothing"),
    ],
    "on.workflow_dispatch: its inputs are of five types": [
        (" {workflow_dispatch: {‸input: {}}}", "on.workflow_dispatch.input: unknown key; did you mean 'inputs'?"),
        (
            " {workflow_dispatch: {inputs: ‸[a]}}",
            "on.workflow_dispatch.inputs: expected a mapping of inputs, found a list",
        ),
        (" {workflow_dispatch: {inputs: {‸1a: }}}", "inputs.1a: a name begins with a letter or _ and goes on with"),
        (" {workflow_dispatch: {inputs: {‸'a b': }}}", "inputs.a b: a name begins with a letter or _"),
        (" {workflow_dispatch: {inputs: {a: ‸x}}}", "inputs.a: expected a mapping, found 'x'"),
        (
            " {workflow_dispatch: {inputs: {a: {type: ‸bool}}}}",
            "inputs.a.type: expected string, boolean, number, choice or environment; did you mean 'boolean'?",
        ),
        (" {workflow_dispatch: {inputs: {a: {‸requird: true}}}}", "unknown key; did you mean 'required'?"),
        (" {workflow_dispatch: {inputs: {a: {required: ‸'yes'}}}}", "a.required: expected true or false, found 'yes'"),
        (" {workflow_dispatch: {inputs: {a: {description: ‸[x]}}}}", "a.description: expected a text, found a list"),
        (
            " {workflow_dispatch: {‸inputs: {" + ", ".join(f"i{n}: " for n in range(26)) + "}}}",
            "on.workflow_dispatch.inputs: at most 25 inputs, found 26",
        ),
    ],
    "on.workflow_dispatch: a choice has options, a default is of the input's type": [
        (" {workflow_dispatch: {inputs: {‸a: {type: choice, default: x}}}}", "inputs.a: a choice needs its 'options'"),
        (
            " {workflow_dispatch: {inputs: {a: {type: choice, ‸options: []}}}}",
            "a.options: a choice needs its 'options'",
        ),
        (
            " {workflow_dispatch: {inputs: {a: {type: choice, options: [x, y], default: ‸z}}}}",
            "inputs.a.default: expected one of x, y, found 'z'",
        ),
        (
            " {workflow_dispatch: {inputs: {a: {type: choice, options: [‸[x]]}}}}",
            "options[0]: expected an option, found a",
        ),
        (" {workflow_dispatch: {inputs: {a: {type: boolean, default: ‸yes}}}}", "expected true or false, found 'yes'"),
        (" {workflow_dispatch: {inputs: {a: {type: number, default: ‸many}}}}", "expected a number, found 'many'"),
        (" {workflow_dispatch: {inputs: {a: {type: number, default: ‸1e999}}}}", "expected a number, found 'Infinity'"),
        (" {workflow_dispatch: {inputs: {a: {default: ‸[x]}}}}", "expected a text, a number, true or false"),
        (" {workflow_dispatch: {inputs: {a: {default: ‸'${{ github.ref }}'}}}}", "expressions are not supported here"),
    ],
    "on.workflow_call.inputs: each says its type, of three": [
        (
            " {workflow_call: {inputs: {‸a: }}}",
            "on.workflow_call.inputs.a: expected a 'type': string, boolean or number",
        ),
        (" {workflow_call: {inputs: {‸a: {default: x}}}}", "expected a 'type'"),
        (
            " {workflow_call: {inputs: {a: {type: ‸choice}}}}",
            "inputs.a.type: expected string, boolean or number",
        ),
        (" {workflow_call: {inputs: {a: {type: string, ‸options: [x]}}}}", "a.options: unknown key"),
        (" {workflow_call: {inputs: {a: {type: boolean, default: ‸'true'}}}}", "expected true or false, found 'true'"),
        (" {workflow_call: {inputs: {a: {type: number, default: ‸'5'}}}}", "expected a number, found '5'"),
    ],
    "Context availability: a default of a call has github, inputs and vars, an output's value jobs too": [
        (
            " {workflow_call: {inputs: {a: {type: string, default: '${{ ‸env.x }}'}}}}",
            "inputs.a.default: 'env' cannot be used in on.workflow_call.inputs.<inputs_id>.default",
        ),
        (" {workflow_call: {inputs: {a: {type: string, default: '${{ ‸gihub.ref }}'}}}}", "unknown context 'gihub'"),
        (
            " {workflow_call: {outputs: {a: {value: '${{ ‸steps.x.outputs.y }}'}}}}",
            "outputs.a.value: 'steps' cannot be used",
        ),
        (" {workflow_call: {outputs: {a: {value: 'x ${{ ‸) }}'}}}}", "outputs.a.value: "),
    ],
    "on.workflow_call.outputs: each has a value": [
        (" {workflow_call: {outputs: {‸a: }}}", "on.workflow_call.outputs.a: expected a 'value', such as ${{ jobs."),
        (" {workflow_call: {outputs: {‸a: {description: x}}}}", "outputs.a: expected a 'value'"),
        (" {workflow_call: {outputs: {a: {value: ‸}}}}", "outputs.a.value: expected a text, found nothing"),
        (" {workflow_call: {outputs: {‸a.b: {value: x}}}}", "outputs.a.b: a name begins with"),
    ],
    "on.workflow_call.secrets: a name, and whether it is required": [
        (" {workflow_call: {secrets: {‸GITHUB_TOKEN: }}}", "secrets.GITHUB_TOKEN: every workflow has this secret"),
        (" {workflow_call: {secrets: {a: {‸type: string}}}}", "secrets.a.type: unknown key"),
        (
            " {workflow_call: {secrets: ‸inherit}}",
            "on.workflow_call.secrets: expected a mapping of secrets, found 'inherit'",
        ),
    ],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(*row, id=f"{sentence} | {row[0]}") for sentence, rows in READ.items() for row in rows],
)
def test_on_is_read(text: str, expected: Events) -> None:
    events, errors = read(text)
    assert errors == []
    assert events == expected
    assert list(events.filters) == list(expected.filters)
    assert msgspec.json.decode(msgspec.json.encode(events), type=Events) == events


@pytest.mark.parametrize(
    ("marked", "expected"),
    [pytest.param(*row, id=f"{sentence} | {row[0][:80]}") for sentence, rows in ERRORS.items() for row in rows],
)
def test_what_is_wrong_is_said_with_its_place(marked: str, expected: str) -> None:
    before, mark, after = f"on:{marked}".partition("‸")
    assert mark
    _, errors = read((before + after).removeprefix("on:"))
    (error,) = errors
    assert error.startswith(f"1:{len(before) + 1}: "), error
    assert expected in error


@pytest.mark.parametrize("name", KINDS)
def test_every_event_is_read_with_all_its_types(name: str) -> None:
    """GitHub's list of events: each may be named alone, in a list and with each of its types."""
    more = {"schedule": "[{cron: 0 4 * * *}]", "workflow_run": "{workflows: x}"}.get(name, "")
    events, errors = read(f" {{{name}: {more}}}")
    assert (list(events.filters), errors) == ([name], [])
    types = KINDS[name].types
    if types:
        also = ", workflows: x" if name == "workflow_run" else ""
        events, errors = read(f" {{{name}: {{types: [{', '.join(types)}]{also}}}}}")
        assert (events.filters[name].types, errors) == (types, [])


def test_all_that_is_wrong_is_said_at_once() -> None:
    _, errors = read(
        "\n  psh:\n  push: {branches: ['['], tag: x}\n  schedule: [{cron: x}]\n  workflow_call: {inputs: {a: }}"
    )
    assert [error.split(": ")[0] for error in errors] == ["2:3", "3:21", "3:27", "4:21", "5:28"]


def test_many_wrong_words_take_no_longer_than_others() -> None:
    words = ", ".join(f"opne{number}" for number in range(4000))
    begun = time.process_time()
    _, errors = read(f" {{issues: {{types: [{words}]}}}}")
    assert len(errors) == 4000
    assert time.process_time() - begun < 5
