"""What is wrong among the jobs of a workflow: needs that cannot be met, and jobs that never run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from buildsys.core.expression_tree import Both, Call, Either, Literal, walk
from buildsys.core.expressions import ExpressionError, Node, is_true, parse_condition
from buildsys.core.findings import Rule
from buildsys.core.job_reading import JobField
from buildsys.core.yaml_reading import Field, Reader
from buildsys.core.yaml_source import Scalar


def resolve_needs(reader: Reader, jobs: Sequence[JobField]) -> dict[str, tuple[str, ...]]:
    """For each job the ids of those it needs: without regard to case, and without those that do not exist."""
    ids = {job.job.id.lower(): job.job.id for job in jobs}
    wanted: dict[str, dict[str, Field]] = {}
    for job in jobs:
        found = wanted.setdefault(job.job.id, {})
        for need in job.needs:
            word = _word(need)
            if id := ids.get(word.lower()):
                found.setdefault(id, need)
            else:
                hint = reader.suggestion(word, ids.values())
                reader.error(need.value, need.path, f"there is no job {word[:100]!r}{hint}", rule=Rule.NEEDS)
    _refuse_circles(reader, wanted)
    return {id: tuple(needs) for id, needs in wanted.items()}


def warn_of_unreachable(reader: Reader, jobs: Sequence[JobField], needs: Mapping[str, Sequence[str]]) -> None:
    """Tell of jobs whose `if` never holds, and of those that such a job takes along.

    A job is skipped with one it needs, unless its `if` calls a status function.
    Source: `jobs.<job_id>.needs` in GitHub's workflow syntax reference.
    """
    conditions = {job.job.id: _condition(job.job.condition) for job in jobs}
    fields = {job.job.id: job.field for job in jobs}
    skipped = deque(id for id, node in conditions.items() if node is not None and _never(node))
    for id in skipped:
        reader.error(fields[id].key, fields[id].path, "never runs: its 'if' is always false", rule=Rule.UNREACHABLE)
    waiting: dict[str, list[str]] = {}
    for id, wanted in needs.items():
        for need in wanted:
            waiting.setdefault(need, []).append(id)
    seen = set(skipped)
    while skipped:
        need = skipped.popleft()
        for id in waiting.get(need, ()):
            node = conditions[id]
            if id not in seen and node is not None and not _asks_for_status(node):
                message = f"never runs: it needs {need!r}, which never does"
                reader.error(fields[id].key, fields[id].path, message, rule=Rule.UNREACHABLE)
                seen.add(id)
                skipped.append(id)


def _refuse_circles(reader: Reader, wanted: Mapping[str, Mapping[str, Field]]) -> None:
    """Tell of each circle of jobs at its first job; in time linear in the number of needs."""
    left = {id: set(needs) for id, needs in wanted.items()}
    waiting: dict[str, list[str]] = {}
    for id, needs in wanted.items():
        for need in needs:
            waiting.setdefault(need, []).append(id)

    def settle(ready: list[str]) -> None:
        while ready:
            done = ready.pop()
            del left[done]
            for id in waiting.get(done, ()):
                if id in left and done in left[id]:
                    left[id].remove(done)
                    if not left[id]:
                        ready.append(id)

    settle([id for id, needs in left.items() if not needs])
    places = {id: number for number, id in enumerate(wanted)}
    while left:
        circle = _circle(wanted, left, places)
        at = wanted[circle[0]][circle[1 % len(circle)]]
        message = f"jobs need each other: {' needs '.join((*circle, circle[0]))}"
        reader.error(at.value, at.path, message, rule=Rule.NEEDS)
        for id in circle:
            left[id].clear()
        settle(list(circle))


def _circle(
    wanted: Mapping[str, Mapping[str, Field]], left: Mapping[str, set[str]], places: Mapping[str, int]
) -> tuple[str, ...]:
    """A circle among the jobs that are left, begun with the one that stands first in the file."""
    at = next(iter(left))
    order: dict[str, int] = {}
    while at not in order:
        order[at] = len(order)
        at = next(need for need in wanted[at] if need in left[at])
    ids = [id for id, number in order.items() if number >= order[at]]
    first = ids.index(min(ids, key=places.__getitem__))
    return (*ids[first:], *ids[:first])


def _condition(text: str) -> Node | None:
    """An `if` that was read; None where it was wrong, which was told."""
    try:
        return parse_condition(text)
    except ExpressionError:
        return None


def _never(node: Node) -> bool:
    """Whether a condition is false whatever the values are, because a part of it is written so."""
    match node:
        case Literal(value=value):
            return not is_true(value)
        case Both(operands=operands):
            return any(_never(operand) for operand in operands)
        case Either(operands=operands):
            return all(_never(operand) for operand in operands)
    return False


def _asks_for_status(node: Node) -> bool:
    return any(isinstance(part, Call) and part.name in ("always", "failure", "cancelled") for part in walk(node))


def _word(field: Field) -> str:
    """The text of a field that `Reader.texts` returned."""
    assert isinstance(field.value, Scalar)
    return field.value.text
