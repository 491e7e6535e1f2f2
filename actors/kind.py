"""What a node knows of a namespace: the actors' class, how they are made, called, and tried again."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from actors.actor import Actor, Context, ScheduleRule
from actors.errors import ActorsError
from actors.messages import MAX_NAMESPACE, Failures, check_name
from actors.method import Method
from actors.retry import Retry

_RESERVED = frozenset({"ctx"})
"""Names that every actor has as attributes."""

_OWN = frozenset(name for name in vars(Actor) if not name.startswith("_"))


class Kind:
    """The rules of one namespace, read from the class once. Raises `TypeError` for a class that cannot be called."""

    def __init__(
        self,
        *,
        namespace: str,
        cls: type[Actor],
        factory: Callable[[Context], Actor],
        retry: Retry,
        errors: Sequence[type[BaseException]],
    ) -> None:
        check_name(namespace, "a namespace", MAX_NAMESPACE)
        if not (isinstance(cls, type) and issubclass(cls, Actor)):
            raise TypeError(f"namespace {namespace!r} needs a class derived from Actor, and {cls!r} is none")
        self.namespace = namespace
        self.cls = cls
        self.factory = factory
        self.retry = retry
        self.failures = Failures(errors)
        self.methods: dict[str, Method] = {}
        self.rules: dict[str, ScheduleRule] = {}
        for name, member in inspect.getmembers(cls, inspect.iscoroutinefunction):
            rule = getattr(member, "__actors_schedule__", None)
            if rule is not None:
                self.rules[name] = rule
            elif name in _RESERVED:
                raise TypeError(f"{cls.__name__}.{name} cannot be a method: every actor has an attribute of this name")
            elif not name.startswith("_") and name not in _OWN:
                self.methods[name] = self._method(name, member)
        if cls.alarm is not Actor.alarm:
            self.rules.setdefault("alarm", ScheduleRule())

    def _method(self, name: str, member: Callable[..., Any]) -> Method:
        try:
            return Method(name, member)
        except NameError as error:
            title = f"{self.cls.__name__}.{name}"
            raise TypeError(f"{title} is annotated with what its module does not have at run time: {error}") from None

    def method(self, name: str) -> Method:
        """A callable method. Raises `AttributeError`, which names the nearest one there is."""
        try:
            return self.methods[name]
        except KeyError:
            raise AttributeError(
                f"{self.cls.__name__} has no method {name!r} that can be called{self._hint(name)}"
            ) from None

    def rule(self, schedule: str) -> ScheduleRule:
        """The rule of a schedule. Raises `ActorsError` for one that the class does not have."""
        try:
            return self.rules[schedule]
        except KeyError:
            raise ActorsError(f"{self.cls.__name__} has no schedule {schedule!r}") from None

    def _hint(self, name: str) -> str:
        """What may be meant by a name that is no method."""
        if name in self.rules:
            return "; it is a schedule"
        if inspect.isfunction(getattr(self.cls, name, None)) and name not in _OWN and not name.startswith("_"):
            return "; it is not async"
        near = difflib.get_close_matches(name, self.methods, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def make(self, ctx: Context) -> Any:
        return self.factory(ctx)
