"""Expressions, and what is nearly one; towers and bombs of their functions; contexts that are hostile themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from buildsys.core.expressions import CaseSensitive, Value

SECRET = "hidden from every error"

PIECES = (
    *("github", "github.ref", "env.A", "steps", "needs.*", "matrix.list", "secrets['x']", "x", "NaN", "Infinity"),
    *("null", "true", "false", "0", "1", "-1.5", "0xff", "0o7", "1e3", "1e999", ".5", "''", "'a'", "'It''s'", "'{0}'"),
    *("'[1,2]'", "'{\"a\":1}'", "'é€😀'", "'\\ud800'", "nope", "&&", "||", "!", "==", "!=", "<", "<=", ">", ">=", "("),
    *(")", "[", "]", ".", "*", ",", ".*", "[*]", "[0]", ".name", "${{", "}}", "'", '"', "=", "&", " ", "\n", "\0"),
    *(
        "\u2028",
        "{0}",
        "contains(",
        "startsWith(",
        "endsWith(",
        "format(",
        "join(",
        "toJSON(",
        "fromJSON(",
        "hashFiles(",
    ),
    *(
        "case(",
        "success()",
        "failure()",
        "always()",
        "cancelled()",
        "a-b",
        "_",
        "é",
        "٣",
        "{",
        "}",
        "{{",
        "$",
        "-",
        "+",
    ),
)
ATOMS = (
    *PIECES[:28],
    "env",
    "github.event",
    "env.nul",
    "env.braces",
    "x.*",
    "github.event.labels.*.name",
    "inputs.big",
)
BIG = ("inputs.big", "inputs.long", "inputs.json", "inputs.many", "inputs.deep", "inputs.many.*", "inputs.big.*")
"""What takes a moment to go through."""


def any_expression(chance: random.Random) -> str:
    """An expression, what is nearly one, or any characters."""
    make: Callable[[random.Random], str] = chance.choice(
        (_shallow, _shallow, _shallow, _changed, _changed, _pieces, _characters, _tower, _tower)
    )
    if chance.random() < 0.003:
        make = _bomb
    return make(chance)


def any_contexts(chance: random.Random) -> dict[str, Value]:
    """The contexts, some of whose values are exchanged for any others."""
    contexts = {name: value for name, value in CONTEXTS.items() if name == "secrets" or chance.random() < 0.95}
    for name in chance.sample(sorted(contexts.keys() - {"secrets", "inputs"}), k=chance.randint(0, 2)):
        contexts[name] = chance.choice(VALUES)
    return contexts


def any_pattern(chance: random.Random, pieces: tuple[str, ...]) -> str:
    """A pattern of such pieces; now and then one piece again and again."""
    if chance.random() < 0.05:
        return chance.choice(pieces) * int(10 ** chance.uniform(0, 4)) + chance.choice(pieces)
    return "".join(chance.choices(pieces, k=chance.randint(0, 12)))


def _shallow(chance: random.Random) -> str:
    return _grown(chance, chance.randint(1, 5))


def _grown(chance: random.Random, depth: int) -> str:
    """An expression that is in the language, but for the number of arguments."""
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(ATOMS)
    inner = [_grown(chance, depth - 1) for _ in range(chance.randint(1, 3))]
    match chance.randrange(7):
        case 0:
            return f"({inner[0]})"
        case 1:
            return f"!{inner[0]}"
        case 2:
            return f"{inner[0]} {chance.choice(('==', '!=', '<', '<=', '>', '>='))} {inner[-1]}"
        case 3:
            return chance.choice((" && ", " || ")).join(inner)
        case 4:
            return f"({inner[0]}){chance.choice(('.name', '.*', '[*]', '[0]', f'[{inner[-1]}]', '.*.name', '.*[0]'))}"
        case 5:
            return f"{chance.choice(('contains', 'startsWith', 'endsWith', 'case'))}({', '.join(inner)})"
        case _:
            name = chance.choice(("format", "join", "toJSON", "fromJSON", "hashFiles", "FORMAT"))
            return f"{name}({', '.join(inner)})"


def _changed(chance: random.Random) -> str:
    text = _grown(chance, chance.randint(1, 4))
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(text))
        text = text[:at] + chance.choice((*PIECES, "")) + text[at + chance.randint(0, 3) :]
    return text


def _pieces(chance: random.Random) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(1, 25)))


def _characters(chance: random.Random) -> str:
    return "".join(map(chr, chance.choices(range(1, 0x3000), k=chance.randint(1, 40))))


def _tower(chance: random.Random) -> str:
    """Functions of functions, each of which makes more of what it is given."""
    text = chance.choice(ATOMS)
    for _ in range(chance.choice((3, 10, 24, 49, 60))):
        around = chance.choice(TOWER)
        if len(text) > 2000 and around.count("@") > 1:
            around = "toJSON(@)"
        text = around.replace("@", text)
    return text


def _bomb(chance: random.Random) -> str:
    """As much of what takes long as is as long as an expression may be."""
    operand = chance.choice(BOMBS).replace("@", chance.choice(BIG))
    separator = chance.choice((" || ", " && ", " == "))
    return separator.join([f"!({operand})"] * chance.choice((1, 5, 50, 20_000 // (len(operand) + 8))))


def _nested(depth: int) -> Any:
    value: Any = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


TOWER = (
    *("toJSON(@)", "fromJSON(toJSON(@))", "toJSON(fromJSON(@))", "format('{0}{0}', @)", "format(@, @)", "join(@, @)"),
    *("fromJSON(@)", "(@)", "!@", "@.*", "@[0]", "case(true, @, @)", "contains(@, @)", "format('{{{0}}}', @)"),
    *("hashFiles(@)", "fromJSON(format('[{0}]', toJSON(@)))", "fromJSON(format('{{\"a\":{0}}}', toJSON(@))).a"),
)
BOMBS = (
    *(
        "contains(@, 'nope')",
        "contains(@, @)",
        "@ == @",
        "@ < 'b'",
        "join(@)",
        "join(@, @)",
        "toJSON(@)",
        "fromJSON(@)",
    ),
    *(
        "fromJSON(toJSON(@))",
        "format('{0}{0}{0}', @)",
        "@.nope",
        "@.*.nope",
        "@[@]",
        "startsWith(@, @)",
        "hashFiles(@)",
    ),
)
VALUES: tuple[Value, ...] = (
    *(None, True, False, 0, -0.0, 1.5, float("nan"), float("inf"), 10**400, -(10**400), "", "x", "\0", "\u2028", "ß"),
    *(
        "İ",
        "ﬁ",
        "9" * 5000,
        "[" * 3000,
        '{"a":' * 60 + "1" + "}" * 60,
        '"\\ud800"',
        '{"a": 1, "A": 2, "a": 3}',
        "1e400",
    ),
    *("{0}{1}{", "{999999999}", "}" * 99, "😀" * 50, "::add-mask::x\n", "$(id)", [], {}, [[]], {"": {}}, [None] * 300),
    *({"a": 1, "A": 2, "\u0131": 3, "I": 4}, {"*": 1, "0": 2, "name": "x"}, CaseSensitive(a="1", A="2"), _nested(300)),
    {f"k{number}": str(number) for number in range(300)},
)
CONTEXTS: dict[str, Value] = {
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "bug"}, 3, None, {"name": []}]}, "name": None},
    "env": CaseSensitive(A="1", name="\u2028", nul="a\0b/c*", braces="{0}{{0}}{1}", patterns="**\n!a\n#x\n[a-"),
    "steps": {"a": {"outputs": {"name": "[1]"}}},
    "needs": {"a": {"result": "success", "name": 3}, "b": {"name": [1, [2]]}},
    "matrix": {"list": ["zero", 1, None, [], {"name": 1}]},
    "secrets": {"x": SECRET},
    "x": [0.5, -0.0, 10**400],
    "inputs": {
        "big": ["Я" * 30] * 20_000,
        "long": "я" * 500_000,
        "json": json.dumps([[{}]] * 20_000),
        "many": {f"name {number}": {"a": "b" * 20} for number in range(50_000)},
        "deep": _nested(2000),
    },
}
