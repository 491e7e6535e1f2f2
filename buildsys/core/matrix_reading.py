"""The `strategy` of a job, and what is known of its `matrix` before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping as Names
from collections.abc import Sequence as Series

from buildsys.core.definition import Strategy, Tree
from buildsys.core.expression_shapes import ANY, BOOLEAN, NULL, NUMBER, TEXT, Shape, closed, opened
from buildsys.core.expression_tokens import OPEN
from buildsys.core.expression_values import Kind
from buildsys.core.template_reading import TemplateReader, is_expression, properties
from buildsys.core.yaml_reading import Field, kind
from buildsys.core.yaml_source import Mapping, Sequence

MAX_COMBINATIONS = 256
"""Jobs of a matrix, as GitHub allows."""

_PLACE = "jobs.<job_id>.strategy"
_LISTS = ("include", "exclude")


def read_strategy(reader: TemplateReader, field: Field) -> tuple[Strategy, Shape]:
    """The strategy, and the shape of the context `matrix`."""
    fields = reader.fields(field.value, field.path, known=("matrix", "fail-fast", "max-parallel"))
    matrix = fields.get("matrix")
    tree = _matrix(reader, matrix) if matrix else None
    strategy = Strategy(
        matrix=tree,
        fail_fast=reader.switch(fields.get("fail-fast"), place=_PLACE, default=True),
        max_parallel=reader.amount(fields.get("max-parallel"), place=_PLACE, above=0, to=MAX_COMBINATIONS),
    )
    return strategy, _matrix_shape(tree)


def _matrix(reader: TemplateReader, field: Field) -> Tree:
    expected = "a mapping of axes or one ${{ }}"
    if is_expression(field):
        return reader.expression(field, place=_PLACE, expected=expected)
    axes = list(reader.entries(field.value, field.path, expected=expected))
    if isinstance(field.value, Mapping) and not axes:
        reader.error(field.value, field.path, "expected at least one axis")
    tree = {axis.name: _additions(reader, axis) if axis.name in _LISTS else _values(reader, axis) for axis in axes}
    _check_exclusions(reader, axes, tree)
    _check_number(reader, field, tree)
    return tree


def _values(reader: TemplateReader, axis: Field) -> Tree:
    if OPEN in axis.name:
        reader.error(axis.key, axis.path, "expressions are not supported here; name the axis")
    expected = "a list of values or one ${{ }}"
    if is_expression(axis):
        return reader.expression(axis, place=_PLACE, expected=expected)
    items = reader.items(axis, expected=expected)
    if isinstance(axis.value, Sequence) and not items:
        reader.error(axis.value, axis.path, "expected at least one value")
    return [reader.tree(item, place=_PLACE) for item in items]


def _additions(reader: TemplateReader, field: Field) -> Tree:
    """The combinations of `include` or `exclude`."""
    expected = "a list of combinations or one ${{ }}"
    if is_expression(field):
        return reader.expression(field, place=_PLACE, expected=expected)
    return [_combination(reader, item) for item in reader.items(field, expected=expected)]


def _combination(reader: TemplateReader, item: Field) -> Tree:
    expected = "a mapping of axes to values or one ${{ }}"
    if is_expression(item):
        return reader.expression(item, place=_PLACE, expected=expected)
    if isinstance(item.value, Mapping):
        return reader.tree(item, place=_PLACE)
    reader.error(item.value, item.path, f"expected {expected}, found {kind(item.value)}")
    return {}


def _check_exclusions(reader: TemplateReader, axes: Series[Field], tree: Names[str, Tree]) -> None:
    known = [axis.name for axis in axes if axis.name not in _LISTS]
    for field in axes:
        items = field.value.items if field.name == "exclude" and isinstance(field.value, Sequence) else ()
        for number, item in enumerate(items):
            for key, _ in item.entries if isinstance(item, Mapping) else ():
                if key.text not in tree or key.text in _LISTS:
                    hint = reader.suggestion(key.text, known)
                    reader.error(key, f"{field.path}[{number}].{key.text}", f"the matrix has no such axis{hint}")


def _check_number(reader: TemplateReader, field: Field, tree: Names[str, Tree]) -> None:
    """Refuse more combinations than there may be, where what is written allows for no fewer."""
    axes = {name: len(values) for name, values in tree.items() if name not in _LISTS and isinstance(values, list)}
    if len(axes) < len(tree.keys() - set(_LISTS)) or isinstance(tree.get("exclude"), str):
        return
    least = math.prod(axes.values()) if axes else len(tree.get("include") or ())
    for excluded in tree.get("exclude") or ():
        if not isinstance(excluded, dict):
            return
        least -= math.prod(size for name, size in axes.items() if name not in excluded)
    if least > MAX_COMBINATIONS:
        reader.error(field.value, field.path, f"a matrix has at most {MAX_COMBINATIONS} combinations, this one {least}")


def _matrix_shape(tree: Tree) -> Shape:
    """What a combination has: the axes, and what `include` adds to some."""
    if tree is None:
        return closed({})
    if not isinstance(tree, dict):
        return opened(ANY)
    found: dict[str, list[Shape]] = {
        name: [_shape(value) for value in values] if isinstance(values, list) else [ANY]
        for name, values in tree.items()
        if name not in _LISTS
    }
    included = tree.get("include", ())
    if isinstance(included, str) or any(isinstance(combination, str) for combination in included):
        return opened(ANY)
    for combination in included:
        for name, value in combination.items():
            found.setdefault(name, []).append(_shape(value))
    return properties({name: _either(shapes) for name, shapes in found.items()})


def _shape(value: Tree) -> Shape:
    match value:
        case None:
            return NULL
        case bool():
            return BOOLEAN
        case int() | float():
            return NUMBER
        case str():
            return ANY if OPEN in value else TEXT
        case list():
            return Shape(kind=Kind.ARRAY, item=_either([_shape(item) for item in value]))
        case dict():
            return properties({name: _shape(item) for name, item in value.items()})
    return ANY


def _either(shapes: Series[Shape]) -> Shape:
    """What is known of a value that has one of these shapes; objects together have the properties of each."""
    if not shapes:
        return ANY
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    if any(shape.kind != Kind.OBJECT for shape in shapes):
        return ANY
    found: dict[str, list[Shape]] = {}
    for shape in shapes:
        for name, property in shape.names.items():
            found.setdefault(name, []).append(property)
    return properties({name: _either(of_name) for name, of_name in found.items()})
