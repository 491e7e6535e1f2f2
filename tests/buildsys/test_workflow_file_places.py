"""Where in the file an expression's error is told, however YAML writes the text that it stands in."""

from __future__ import annotations

import random

import pytest
import yaml
from workflow_text import MARK, check_one, examine

from buildsys.core.expressions import MAX_ERRORS
from buildsys.core.yaml_places import indexes
from buildsys.core.yaml_source import Node, Scalar, Sequence, parse

HEAD = "on: push\njobs: {a: {runs-on: x, steps: [run: x]}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "run-name: x ${{ ‸nope.x }} y",
        "run-name:    x\n  folded ${{\n   ‸nope.x }} y",
        "run-name: x\n\n  ${{ github.ref }}\n  ${{ ‸nope.x }}",
        "run-name: 'x ${{ ‸nope.x }}'",
        "run-name: 'it''s ''${{ contains(''it''''s'', ‸nope.x) }}'",
        "run-name: 'x\n\n  y   ${{ ‸nope.x }}\n '",
        'run-name: "x ${{ ‸nope.x }}"',
        'run-name: "\\t\\u00e9\\x41\\U0001F600\\\\\\"\\/\\e ${{ ‸nope.x }}"',
        'run-name: "a\\n\\r\\N\\_\\L\\P\\ b ${{ ‸nope.x }}"',
        'run-name: "x \\\n   y ${{ ‸nope.x }}"',
        'run-name: "x\\\n   \\ y ${{\n\n\n ‸nope.x }}"',
        "run-name: |\n  x\n    y ${{ ‸nope.x }}\n",
        "run-name: |-\n\n\n  ${{ ‸nope.x }}\n",
        "run-name: |2 # a comment ${{\n    x ${{ ‸nope.x }}\n",
        "run-name: |+\n  # no comment\n  ${{ ‸nope.x }}\n\n\n",
        "run-name: >\n  folded\n  text ${{ ‸nope.x }}\n\n  x\n",
        "run-name: >-\n\n  folded\n\n    more\n   ${{ ‸nope.x }}\n",
        "run-name: &anchor x ${{ ‸nope.x }}",
        "run-name: !!str x ${{ ‸nope.x }}",
        "run-name: &anchor !!str 'x ${{ ‸nope.x }}'",
        "run-name: &anchor\n  |\n  x ${{ ‸nope.x }}\n",
        "run-name: ünïcödé 日本 😀 ${{ ‸nope.x }}",
        "run-name: |\n  日本 😀\n  😀 ${{ ‸nope.x }}\n",
        "run-name:\t${{ ‸nope.x }}",
        "env: {A: &a '${{ ‸nope.x }}'}",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_the_place_in_a_text(text: str, end: str) -> None:
    marked = (HEAD + text + "\n").replace("\n", end)
    before, _, after = marked.partition(MARK)
    (finding,) = examine(before + after).findings
    lines = before.split(end)
    assert (finding.line, finding.column) == (len(lines), len(lines[-1]) + 1)
    assert "unknown context 'nope'" in finding.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run-name: x ${{ github.ref ‸x }}", "expected an operator or the end"),
        ("run-name: |\n  x\n  y ‸${{ github.ref\n", "'${{' without '}}'"),
        ("run-name: x ${{ github.ref == ‸}}", "expected a value"),
        ("run-name: x ${{ 'a' ‸~ 'b' }}", "unexpected '~'"),
        ('env: {A: "${{ github.ref\n   ‸x }}"}', "expected an operator or the end"),
    ],
)
def test_the_place_of_what_cannot_be_read(text: str, said: str) -> None:
    check_one(f"{HEAD}{text}\n", said)


STYLES = ("", "'", '"', "|", ">")
CHARACTERS = "abc é日😀'\"\\#:{}[]$,-|>&*!%@`\t\n\n\x07\x85\u2028\xa0~"


@pytest.mark.parametrize("style", STYLES)
def test_every_character_is_found_however_it_is_written(style: str) -> None:
    chance = random.Random(style)
    for _ in range(500):
        text = "".join(chance.choices(CHARACTERS, k=chance.randrange(1, 60)))
        written = {"default_style": style, "width": chance.choice((20, 1000)), "allow_unicode": chance.random() < 0.5}
        source: str = yaml.dump({"k": [{"x": text}]}, Dumper=yaml.CSafeDumper, **written)
        scalar = last(parse(source))
        assert scalar.text == text
        places = indexes(source, scalar)
        assert places is not None, source
        assert len(places) == len(text) + 1
        for character, place in zip(text, places, strict=False):
            if character not in " \t\n\x85\u2028":
                assert source[place] in (character, "\\"), (source, text, character)


def last(node: Node) -> Scalar:
    """The last scalar of a tree."""
    while not isinstance(node, Scalar):
        node = node.items[-1] if isinstance(node, Sequence) else node.entries[-1][1]
    return node


def test_a_byte_order_mark_is_no_column() -> None:
    (finding,) = examine("\ufeffon: push\nrun-name: ${{ nope.x }}\n" + HEAD.partition("\n")[2]).findings
    assert (finding.line, finding.column) == (2, 15)


def test_every_place_of_one_text_is_told() -> None:
    text = f"{HEAD}run-name: |\n  ${{{{ a.x }}}} ${{{{ b.x }}}}\n  ${{{{ c.x }}}}\n"
    places = [(finding.line, finding.column) for finding in examine(text).findings]
    assert places == [(4, 7), (4, 18), (5, 7)]


def test_every_expression_of_a_text_that_cannot_be_read_is_told() -> None:
    text = "run-name: ${{ github.ref x }} ${{ nope.x }} ${{ github.sha }} ${{ 'a }} ${{ nothing() }} ${{ github."
    found = [(finding.column, finding.message) for finding in examine(HEAD + text + "\n").findings]
    assert [(column, message[:30]) for column, message in found] == [
        (text.index("x }}") + 1, "expected an operator or the en"),
        (text.index("nope") + 1, "unknown context 'nope'"),
        (text.index("'a") + 1, "a text without its closing quo"),
        (text.index("nothing") + 1, "unknown function 'nothing'"),
        (text.rindex("${{") + 1, "'${{' without '}}'"),
    ]


def test_so_many_errors_of_a_text_are_told_and_no_more() -> None:
    assert len(examine(HEAD + "run-name: " + "${{ }} " * 3000 + "\n").findings) == MAX_ERRORS


def test_an_alias_is_told_where_its_text_stands() -> None:
    text = f"{HEAD}env:\n  A: &a ${{{{ nope.x }}}}\n  B: *a\n"
    found = [(finding.line, finding.column, finding.path) for finding in examine(text).findings]
    assert found == [(4, 13, "env.A"), (4, 13, "env.B")]
