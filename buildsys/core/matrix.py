"""The combinations of a matrix, once its expressions are evaluated.

Sources: "Running variations of jobs in a workflow" in GitHub's documentation, and `jobs.<job_id>.strategy.matrix` in
its workflow syntax.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from buildsys.core.expressions import Value, to_text
from buildsys.core.plan_values import PlanError, found

MAX_COMBINATIONS = 256
"""Jobs that a matrix makes at most. Source: GitHub's usage limits."""

MAX_PRODUCT = 4096
"""Combinations of the axes before any is excluded, at most."""

MAX_NAMES = 256
"""Names that the combinations of a matrix have in all, at most."""

MAX_SIZE = 256 << 10
"""Bytes of a matrix in JSON, at most: all of its job's runners get their part of it."""

LONGEST_NAME = 100
"""Characters of a job's name with its combination, as on GitHub; what is beyond is cut."""

Combination = dict[str, Any]


def combinations(matrix: Value) -> tuple[Combination, ...]:
    """Every combination, in the order of the axes: the last one changes fastest; those that `include` makes follow.

    `exclude` takes away what has all of its values. Then each item of `include` is added to every combination of which
    it overwrites no original value, also over what an earlier one added; where there is none, it is one of its own.
    Values of any kind are compared as a whole. Raises `PlanError` for what is no matrix, is empty or too large.
    """
    if not isinstance(matrix, Mapping):
        raise PlanError(f"strategy.matrix: expected a mapping of axes, found {found(matrix)}")
    if len(msgspec.json.encode(matrix)) > MAX_SIZE:
        raise PlanError(f"strategy.matrix: larger than {MAX_SIZE >> 10} KiB")
    axes = {name: _axis(name, values) for name, values in matrix.items() if name not in ("include", "exclude")}
    includes, excludes = _items(matrix, "include"), _items(matrix, "exclude")
    if len(set(axes).union(*includes)) > MAX_NAMES:
        raise PlanError(f"strategy.matrix: more than {MAX_NAMES} names")
    originals = _bounded(_excluded(_product(axes), axes, excludes))
    made = _included(originals, axes, includes)
    if not made:
        raise PlanError("strategy.matrix: there is no combination left; a matrix must have at least one")
    return tuple(_bounded(made))


def suffixed(name: str, combination: Combination) -> str:
    """A job's name with the values of its combination, as in `test (3.11, ubuntu)`."""
    texts = (to_text(leaf) for leaf in _leaves(combination))
    whole = f"{name} ({', '.join(itertools.islice(filter(None, texts), LONGEST_NAME))})"
    return whole if len(whole) <= LONGEST_NAME else f"{whole[: LONGEST_NAME - 3]}..."


def _axis(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise PlanError(f"strategy.matrix.{name[:60]}: expected a list of values, found {found(values)}")
    if not values:
        raise PlanError(f"strategy.matrix.{name[:60]}: the list has no values; an axis must have at least one")
    return values


def _items(matrix: Mapping[str, Any], key: str) -> list[Combination]:
    items = matrix.get(key)
    if items is None or items == "":
        return []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise PlanError(f"strategy.matrix.{key}: expected a list of mappings, found {found(items)}")
    if len(items) > MAX_COMBINATIONS:
        raise PlanError(f"strategy.matrix.{key}: {len(items)} items; there may be {MAX_COMBINATIONS}")
    return [item for item in items if item]


def _product(axes: Mapping[str, list[Any]]) -> list[Combination]:
    if not axes:
        return []
    if math.prod(map(len, axes.values())) > MAX_PRODUCT:
        most = f"a matrix makes at most {MAX_COMBINATIONS} jobs"
        raise PlanError(f"strategy.matrix: more than {MAX_PRODUCT} combinations; {most}")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _excluded(made: list[Combination], axes: Mapping[str, list[Any]], excludes: list[Combination]) -> list[Combination]:
    for exclude in excludes:
        unknown = next((name for name in exclude if name not in axes), None)
        if unknown is not None:
            raise PlanError(f"strategy.matrix.exclude: {unknown[:60]!r} is no axis of the matrix")
    wanted = [{name: _key(value) for name, value in exclude.items()} for exclude in excludes]
    keys = _Keys()
    return [
        combination
        for combination in made
        if not any(all(keys.of(combination[name]) == key for name, key in exclude.items()) for exclude in wanted)
    ]


def _included(
    originals: list[Combination], axes: Mapping[str, list[Any]], includes: list[Combination]
) -> list[Combination]:
    extended = [dict(original) for original in originals]
    alone = []
    keys = _Keys()
    for include in includes:
        wanted = {name: _key(value) for name, value in include.items() if name in axes}
        fitting = [
            combination
            for combination in extended
            if all(keys.of(combination[name]) == key for name, key in wanted.items())
        ]
        for combination in fitting:
            combination.update(include)
        if not fitting:
            alone.append(dict(include))
    return [*extended, *alone]


class _Keys:
    """What values are compared by, made once for each value of an axis."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any) -> bytes:
        if id(value) not in self._made:
            self._made[id(value)] = value, _key(value)  # holds the value, so that its id stays its own
        return self._made[id(value)][1]


def _key(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _bounded(made: list[Combination]) -> list[Combination]:
    if len(made) > MAX_COMBINATIONS:
        raise PlanError(f"strategy.matrix: {len(made)} combinations; a matrix makes at most {MAX_COMBINATIONS} jobs")
    return made


def _leaves(value: Any) -> Iterator[Value]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
