"""When a schedule runs next.

A cron has five fields, `minute hour day-of-month month day-of-week`, each `*`, a value, a range `a-b`, a step `a/n`,
`a-b/n` or `*/n`, or a list of these; months and days of the week may be named by three letters. Where both kinds of
days are given, either is enough; a field is not given only if it is `*`.
Sources: `on.schedule` in GitHub's workflow syntax reference, and POSIX's `crontab`, which it refers to.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import msgspec

from buildsys.core.definition import Schedule

SHORTEST = timedelta(minutes=5)
"""Between two runs of a schedule, as on GitHub: a cron that asks for more is not an error, but runs that often."""

MAX_LENGTH = 500
"""Characters of a cron; one that lists all values has less."""

_YEARS = 8
"""A 29th of February is never farther away."""

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Range(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    low: int
    high: int
    names: str = ""


_FIELDS = (
    _Range(name="minute", low=0, high=59),
    _Range(name="hour", low=0, high=23),
    _Range(name="day of the month", low=1, high=31),
    _Range(name="month", low=1, high=12, names="JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    _Range(name="day of the week", low=0, high=6, names="SUN MON TUE WED THU FRI SAT"),
)


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """A cron that was read; `days` and `weekdays` are None where they are not given. Sunday is 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cron. Raises `ValueError` that says what is wrong with it, also where it would never come."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a cron is at most {MAX_LENGTH} characters")
        fields = text.split()
        if text.strip().startswith("@"):
            instead = _SHORTHANDS.get(text.strip().lower())
            raise ValueError(f"GitHub has no {text.strip()[:20]}" + (f"; write '{instead}'" if instead else ""))
        if len(fields) != len(_FIELDS):
            raise ValueError(
                f"expected minute, hour, day of the month, month, day of the week; found {len(fields)} fields"
            )
        minutes, hours, days, months, weekdays = (
            _values(field, known) for field, known in zip(fields, _FIELDS, strict=True)
        )
        cron = cls(
            minutes=minutes,
            hours=hours,
            days=None if fields[2] == "*" else days,
            months=months,
            weekdays=None if fields[4] == "*" else weekdays,
        )
        if cron.weekdays is None and min(days) > max(monthrange(2024, month)[1] for month in months):
            raise ValueError(f"never comes: no such month has a day {min(days)}")
        return cron

    def is_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if self.days is not None and self.weekdays is not None:
            return day.day in self.days or day.isoweekday() % 7 in self.weekdays
        return (self.days is None or day.day in self.days) and (
            self.weekdays is None or day.isoweekday() % 7 in self.weekdays
        )


def check_timezone(name: str) -> None:
    """Raises `ValueError` unless the name is one of the IANA time zones that this system knows."""
    _zone(name)


def next_after(schedule: Schedule, moment: datetime, *, last: datetime | None = None) -> datetime:
    """The first time, in UTC, after `moment` that the schedule names, and `SHORTEST` after its `last` if it had one.

    A time that the zone's clock skips comes when the clock has just skipped it; one that it shows twice comes the first
    time only. GitHub documents the former and is silent on the latter. Raises `ValueError` for a schedule that cannot
    be read.
    """
    cron, zone = Cron.parse(schedule.cron), _zone(schedule.timezone)
    earliest = moment.astimezone(UTC) if last is None else max(moment.astimezone(UTC), last + SHORTEST - _MINUTE)
    return next(at for at in _times(cron, zone, earliest) if at > earliest)


def newest(schedule: Schedule, since: datetime, until: datetime) -> datetime:
    """The last time that the schedule names up to `until`; there is one from `since` on. Found by halving."""
    early, late = since - _MINUTE, until
    while late - early > _MINUTE:
        middle = early + (late - early) / 2
        if next_after(schedule, middle) <= until:
            early = middle
        else:
            late = middle
    return next_after(schedule, early)


def _times(cron: Cron, zone: ZoneInfo, earliest: datetime) -> Iterator[datetime]:
    day = earliest.astimezone(zone).date()
    end = day.replace(year=day.year + _YEARS + 1, day=1)
    clock = [time(hour, minute) for hour in sorted(cron.hours) for minute in sorted(cron.minutes)]
    while day < end:
        if cron.is_on(day):
            yield from (_moment(datetime.combine(day, at), zone) for at in clock)
        day += _DAY


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """When the zone's clock shows a time, or would have if it did not skip it."""
    while True:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local:
            return moment
        local += _MINUTE


def _values(text: str, field: _Range) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _part(part, field))


def _part(text: str, field: _Range) -> range:
    span, slash, step = text.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        low, high = field.low, field.high
    else:
        low = _value(first, field)
        high = _value(last, field) if dash else field.high if slash else low
    if low > high:
        raise ValueError(f"{field.name}: {span!r} runs backwards")
    if slash and not (_is_number(step) and 0 < int(step) < 100):
        raise ValueError(f"{field.name}: expected a number from 1 to 99 after the / of {text[:20]!r}")
    return range(low, high + 1, int(step) if slash else 1)


def _value(text: str, field: _Range) -> int:
    names = field.names.split()
    if text.upper() in names:
        return field.low + names.index(text.upper())
    if _is_number(text) and field.low <= int(text) <= field.high:
        return int(text)
    named = f" or {names[0]}-{names[-1]}" if names else ""
    raise ValueError(f"{field.name}: expected *, {field.low}-{field.high}{named}, found {text[:20]!r}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a part of a name, such as `Europe`, is a folder
        raise ValueError(f"{name[:60]!r} is not an IANA time zone such as Europe/Berlin") from None
