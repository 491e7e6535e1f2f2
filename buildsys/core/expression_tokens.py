"""Cuts the text of an expression into tokens, one at a time and in time linear in its length."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from buildsys.core.expression_tree import ExpressionError
from buildsys.core.expression_values import parse_number

MAX_LENGTH = 21_000
"""Characters of an expression, as GitHub allows."""

OPEN = "${{"
CLOSE = "}}"

_SPACE = re.compile(r"\s*")
_STRING = re.compile(r"'([^']*(?:''[^']*)*)'(?!')")
_SYMBOL = re.compile(r"[!=<>]=|&&|\|\||[!<>()\[\].,*]")
_NUMBER = re.compile(r"(?:[-+0-9]|\.(?=[0-9]))(?:(?!\}\})[^\s()\[\],!<>=&|*'\"])*")
_WORD = re.compile(r"(?:(?!\}\})[^\s()\[\].,!<>=&|*'\"])+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_ADVICE = {
    '"': "a text stands in single quotes",
    "=": "== compares",
    "&": "&& means and",
    "|": "|| means or",
    **dict.fromkeys(("+", "-", "/", "%"), "there is no arithmetic in expressions"),
}


class TokenKind(StrEnum):
    NAME = "a name"
    NUMBER = "a number"
    STRING = "a text"
    SYMBOL = "an operator"
    END = "the end"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what stands there; of a string it is what the string says."""

    kind: TokenKind
    text: str
    at: int
    end: int


def tokens(text: str, *, start: int = 0, braced: bool = False) -> Iterator[Token]:
    """The tokens from `start` on; the last is an END.

    `braced` text ends with its first `}}` outside a string, other text with itself. Raises `ExpressionError` at what
    is no token, at a `${{` that nothing closes, and where the expression grows longer than `MAX_LENGTH`.
    """
    at = start
    after_operand = False
    while True:
        token = _token(text, _after_space(text, at), braced=braced, after_operand=after_operand)
        if (token.at if token.kind == TokenKind.END else token.end) - start > MAX_LENGTH:
            raise ExpressionError(f"an expression is at most {MAX_LENGTH:,} characters", at=start)
        if token.kind == TokenKind.END and braced and token.end == token.at:
            raise ExpressionError(f"{OPEN!r} without {CLOSE!r}", at=start - len(OPEN))
        yield token
        if token.kind == TokenKind.END:
            return
        at = token.end
        after_operand = token.kind != TokenKind.SYMBOL or token.text in (")", "]", "*")


def _after_space(text: str, at: int) -> int:
    if not text[at : at + 1].isspace():
        return at
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()


def _token(text: str, at: int, *, braced: bool, after_operand: bool) -> Token:
    if at == len(text):
        return Token(kind=TokenKind.END, text="", at=at, end=at)
    if braced and text.startswith(CLOSE, at):
        return Token(kind=TokenKind.END, text=CLOSE, at=at, end=at + len(CLOSE))
    word = _WORD.match(text, at)
    if word and _NAME.fullmatch(word[0]):
        return Token(kind=TokenKind.NAME, text=word[0], at=at, end=word.end())
    if string := _STRING.match(text, at):
        return Token(kind=TokenKind.STRING, text=string[1].replace("''", "'"), at=at, end=string.end())
    if (number := _NUMBER.match(text, at)) and not (after_operand and text[at] == "."):
        if math.isnan(parse_number(number[0])):
            raise _unexpected(text, at, number[0])
        return Token(kind=TokenKind.NUMBER, text=number[0], at=at, end=number.end())
    if symbol := _SYMBOL.match(text, at):
        return Token(kind=TokenKind.SYMBOL, text=symbol[0], at=at, end=symbol.end())
    raise _unexpected(text, at, word[0] if word else text[at])


def _unexpected(text: str, at: int, found: str) -> ExpressionError:
    if text[at] == "'":
        return ExpressionError("a text without its closing quote; '' within it is a quote", at=at)
    advice = _ADVICE.get(found, "")
    if not advice and (found[0] in "-+" or found[0].isdecimal()):
        advice = "not a number"
    return ExpressionError(f"unexpected {found[:60]!r}{advice and f'; {advice}'}", at=at)
