"""What happened to a repository, or was asked for, and whether a workflow wants it.

Source: `on` in GitHub's workflow syntax reference, "Events that trigger workflows" and "Skipping workflow runs".
"""

from __future__ import annotations

from typing import Any

import msgspec

from buildsys.core.definition import Events, Filter
from buildsys.core.event_kinds import KINDS, PULL_REQUEST, PUSH, SCHEDULE
from buildsys.core.glob import Glob
from buildsys.core.payload_filter import parse_filter

BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
PULLS = "refs/pull/"
HEAD = "HEAD"

MAX_WORK = 2_000_000_000
"""Of patterns on paths, in what takes at most a nanosecond: a byte of a path for each character of the patterns."""

_CALL = 1000
"""What a pattern and a path cost by themselves."""

_SKIP_WORDS = ("[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]")
_SKIP_TRAILERS = ("skip-checks:true", "skip-checks: true")
_SHOWN = 20


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event, from whichever forge, person or clock it comes.

    `ref` is complete: `refs/heads/x`, `refs/tags/x` or `refs/pull/1/merge`; or `HEAD`, until somebody looks which
    branch is the default one. `sha` is the commit to build, None at `HEAD`, or where the ref was deleted. `base_branch`
    and `head_branch` are a pull request's, whose code comes `from_fork` where its head is in another repository; of a
    `workflow_run`, `head_branch` is the one that the other workflow ran on. `message` is the whole message of that
    commit, of a pull request's head where it is known. `paths` are the changed files, None where they are not known.
    `inputs` are those of a dispatch as they were given, `payload` becomes `github.event`. Where `workflow` is not empty
    only that one is meant, by its path, its file or its name.
    """

    name: str
    ref: str
    sha: str | None
    action: str = ""
    base_branch: str = ""
    head_branch: str = ""
    from_fork: bool = False
    message: str = ""
    paths: tuple[str, ...] | None = None
    inputs: dict[str, Any] = {}
    payload: dict[str, Any] = {}
    workflow: str = ""


def match(on: Events, event: Event) -> str | None:
    """None if the workflow wants the event, else why it does not, such as `branch 'x' matches none of: main`.

    The commit's message is looked at last: that it asks for no builds counts only where there would be one.
    """
    wanted = on.filters.get(event.name)
    if wanted is None:
        return f"it runs on {', '.join(on.filters)}, not on {event.name}"
    if event.name == SCHEDULE:
        return _schedule(on, event)
    filtered = {PUSH: _push, "workflow_run": _run}.get(event.name, _by_base)
    return (
        _type(wanted, event)
        or filtered(wanted, event)
        or _payload(wanted, event)
        or (_skip(event.message) if event.name in (PUSH, PULL_REQUEST) else None)
    )


def _schedule(on: Events, event: Event) -> str | None:
    cron = event.payload.get("schedule")
    if cron in [schedule.cron for schedule in on.schedules]:
        return None
    return f"no schedule of it is {cron!r}"


def _type(wanted: Filter, event: Event) -> str | None:
    kind = KINDS.get(event.name)
    types = wanted.types if wanted.types is not None else kind and kind.default
    if not types or event.action in types:
        return None
    return f"it wants {event.name} of type {', '.join(types)}, not {event.action!r}"


def _push(wanted: Filter, event: Event) -> str | None:
    """A workflow that filters one kind of ref only is not for the other; files are not looked at for tags."""
    of_branches = wanted.branches is not None or wanted.branches_ignore is not None
    of_tags = wanted.tags is not None or wanted.tags_ignore is not None
    if event.ref.startswith(TAGS):
        tag = event.ref.removeprefix(TAGS)
        if of_branches and not of_tags:
            return "it wants branches only"
        return _deleted(event, "tag", tag) or _name("tag", tag, wanted.tags, wanted.tags_ignore)
    branch = event.ref.removeprefix(BRANCHES)
    if of_tags and not of_branches:
        return "it wants tags only"
    return (
        _deleted(event, "branch", branch)
        or _name("branch", branch, wanted.branches, wanted.branches_ignore)
        or _paths(wanted, event.paths)
    )


def _run(wanted: Filter, event: Event) -> str | None:
    run = event.payload.get("workflow_run")
    name = run.get("name") if isinstance(run, dict) else None
    if wanted.workflows is not None and name not in wanted.workflows:
        return f"it follows {_first(wanted.workflows)}, not {name!r}"
    return _name("branch", event.head_branch, wanted.branches, wanted.branches_ignore)


def _payload(wanted: Filter, event: Event) -> str | None:
    """An event without a payload still has its ref."""
    body = {"ref": event.ref, **event.payload}
    if wanted.payload is None or any(not text or parse_filter(text)(body) for text in wanted.payload):
        return None
    return f"what was sent does not fit {' or '.join(wanted.payload[:_SHOWN])}"


def _by_base(wanted: Filter, event: Event) -> str | None:
    base = _name("base branch", event.base_branch, wanted.branches, wanted.branches_ignore)
    return base or _paths(wanted, event.paths)


def _deleted(event: Event, what: str, name: str) -> str | None:
    return f"{what} {name!r} was deleted: there is no commit to build" if event.sha is None else None


def _name(what: str, name: str, wanted: tuple[str, ...] | None, ignored: tuple[str, ...] | None) -> str | None:
    if wanted is not None:
        last = _Patterns(wanted).last(name)
        if last is None:
            return f"{what} {name!r} matches none of: {_first(wanted)}"
        return f"{what} {name!r} is excluded by {last}" if last.startswith("!") else None
    if ignored is not None and (last := _Patterns(ignored).last(name)) and not last.startswith("!"):
        return f"{what} {name!r} is ignored by {last}"
    return None


def _paths(wanted: Filter, changed: tuple[str, ...] | None) -> str | None:
    """Whether one changed file is enough; where that cannot be told the workflow runs, as on GitHub.

    It cannot where the changes are not known, or take too long to look at. Else all files count, however many; GitHub
    looks at the first 300.
    """
    patterns = wanted.paths if wanted.paths is not None else wanted.paths_ignore
    if patterns is None or changed is None or _work(patterns, changed) > MAX_WORK:
        return None
    if not changed:
        return "no file was changed"
    fitting = map(_Patterns(patterns).includes, changed)
    if wanted.paths is not None:
        return None if any(fitting) else f"{_some(changed)} matches none of: {_first(patterns)}"
    return f"{_some(changed)} is ignored by: {_first(patterns)}" if all(fitting) else None


def _work(patterns: tuple[str, ...], changed: tuple[str, ...]) -> int:
    return len(patterns) * len(changed) * _CALL + sum(map(len, patterns)) * sum(map(len, changed))


def _some(changed: tuple[str, ...]) -> str:
    first = changed[0]
    return repr(first) if len(changed) == 1 else f"each of {len(changed)} changed files, such as {first!r},"


def _first(patterns: tuple[str, ...]) -> str:
    more = f" and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else ""
    return ", ".join(patterns[:_SHOWN]) + more


def _skip(message: str) -> str | None:
    """What the message says where it asks for no builds.

    The trailer is the last line of a message of several paragraphs. GitHub's page asks for two empty lines before the
    trailers, which git itself makes one of unless it is told not to; so here one is enough.
    """
    for word in _SKIP_WORDS:
        if word in message:
            return f"the commit's message says {word}"
    paragraphs = message.rstrip().replace("\r\n", "\n").rsplit("\n\n", 1)
    last = paragraphs[-1].splitlines()[-1:] if len(paragraphs) == 2 else []
    return f"the commit's message ends with {last[0]}" if last and last[0] in _SKIP_TRAILERS else None


class _Patterns:
    """Patterns of one filter: the last that fits a name decides."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._globs = [(text, Glob.parse(text.removeprefix("!"))) for text in reversed(texts)]

    def last(self, name: str) -> str | None:
        """The last that fits, with its `!`."""
        return next((text for text, glob in self._globs if glob.matches(name)), None)

    def includes(self, name: str) -> bool:
        last = self.last(name)
        return last is not None and not last.startswith("!")
