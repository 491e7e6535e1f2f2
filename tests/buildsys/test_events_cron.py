"""When schedules run, against `on.schedule` of GitHub's workflow syntax reference and POSIX's `crontab`.

A sentence begins with the one or the other, told in our words; "Ours" is where both are silent.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from buildsys.core.cron import SHORTEST, Cron, newest, next_after
from buildsys.core.definition import Schedule

WEDNESDAY = "2026-07-15 10:17"

NEXT: dict[str, list[tuple[str, str, list[str]]]] = {
    "GitHub: * is any value": [
        ("* * * * *", WEDNESDAY, ["2026-07-15 10:18", "2026-07-15 10:19"]),
        ("15 * * * *", WEDNESDAY, ["2026-07-15 11:15", "2026-07-15 12:15"]),
        ("17 10 * * *", WEDNESDAY, ["2026-07-16 10:17"]),
    ],
    "GitHub: , separates values": [
        ("2,10 4,5 * * *", "2026-07-15 04:05", ["2026-07-15 04:10", "2026-07-15 05:02", "2026-07-15 05:10"]),
        ("30 5,17 * * *", WEDNESDAY, ["2026-07-15 17:30", "2026-07-16 05:30"]),
    ],
    "GitHub: - is a range of values": [
        ("30 4-6 * * *", "2026-07-15 05:00", ["2026-07-15 05:30", "2026-07-15 06:30", "2026-07-16 04:30"]),
        ("0 0 1-2 3-4 *", WEDNESDAY, ["2027-03-01 00:00", "2027-03-02 00:00", "2027-04-01 00:00"]),
        ("0-2,58-59 0 * * *", "2026-07-15 00:01", ["2026-07-15 00:02", "2026-07-15 00:58"]),
    ],
    "GitHub: / is a step, and 20/15 begins at 20": [
        ("20/15 * * * *", WEDNESDAY, ["2026-07-15 10:20", "2026-07-15 10:35", "2026-07-15 10:50", "2026-07-15 11:20"]),
        ("*/5 * * * *", WEDNESDAY, ["2026-07-15 10:20", "2026-07-15 10:25"]),
        ("0 */6 * * *", WEDNESDAY, ["2026-07-15 12:00", "2026-07-15 18:00", "2026-07-16 00:00"]),
        ("10-30/10 * * * *", WEDNESDAY, ["2026-07-15 10:20", "2026-07-15 10:30", "2026-07-15 11:10"]),
        ("*/40 * * * *", "2026-07-15 10:00", ["2026-07-15 10:40", "2026-07-15 11:00"]),
        ("*/90 * * * *", "2026-07-15 10:00", ["2026-07-15 11:00"]),
    ],
    "GitHub: months may be named JAN-DEC, days of the week SUN-SAT, and Sunday is 0": [
        ("0 9 * * MON-FRI", "2026-07-17 09:00", ["2026-07-20 09:00"]),
        ("0 9 * * 0", WEDNESDAY, ["2026-07-19 09:00"]),
        ("0 9 * * sun,6", WEDNESDAY, ["2026-07-18 09:00", "2026-07-19 09:00"]),
        ("0 9 1 JAN,Dec *", WEDNESDAY, ["2026-12-01 09:00", "2027-01-01 09:00"]),
        ("30 5 * * 1,3", WEDNESDAY, ["2026-07-20 05:30", "2026-07-22 05:30"]),
        ("0 0 * * MON-WED/2", WEDNESDAY, ["2026-07-20 00:00", "2026-07-22 00:00"]),
    ],
    "POSIX: where days of both kinds are given, either is enough": [
        ("0 0 13 * FRI", "2026-07-10 00:00", ["2026-07-13 00:00", "2026-07-17 00:00", "2026-07-24 00:00"]),
        ("0 0 31 2 MON", WEDNESDAY, ["2027-02-01 00:00", "2027-02-08 00:00"]),
    ],
    "POSIX: where only one is, the other being *, it alone counts": [
        ("0 0 13 * *", WEDNESDAY, ["2026-08-13 00:00"]),
        ("0 0 * * FRI", WEDNESDAY, ["2026-07-17 00:00"]),
    ],
    "POSIX: days that a month does not have do not come in it": [
        ("0 0 31 * *", "2026-07-31 12:00", ["2026-08-31 00:00", "2026-10-31 00:00"]),
        ("0 0 29 2 *", WEDNESDAY, ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 *", "2096-03-01 00:00", ["2104-02-29 00:00"]),
    ],
    "GitHub: the operators may stand together": [
        ("28 5,*/8,6-7 * * *", WEDNESDAY, ["2026-07-15 16:28", "2026-07-16 00:28", "2026-07-16 05:28"]),
        ("0 2-4/5 * * *", WEDNESDAY, ["2026-07-16 02:00", "2026-07-17 02:00"]),
        ("0 4-4 * * *", WEDNESDAY, ["2026-07-16 04:00", "2026-07-17 04:00"]),
        ("0 0 * * SUN-2", "2026-07-18 00:00", ["2026-07-19 00:00", "2026-07-20 00:00", "2026-07-21 00:00"]),
    ],
    "Ours: any space separates, zeros may lead, any end of a year is passed": [
        ("0 000 001 * *", WEDNESDAY, ["2026-08-01 00:00"]),
        ("  0   0\t1 1 * ", "2026-12-31 23:59", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("59 23 31 12 *", "2026-12-31 23:59", ["2027-12-31 23:59"]),
    ],
}

REFUSED: dict[str, list[tuple[str, str]]] = {
    "GitHub: a cron has five fields": [
        ("", "minute, hour, day of the month, month, day of the week; found 0 fields"),
        ("0 4 * *", "found 4 fields"),
        ("0 0 4 * * *", "found 6 fields"),
    ],
    "GitHub: there is no @daily": [
        ("@daily", "GitHub has no @daily; write '0 0 \\* \\* \\*'"),
        ("@HOURLY ", "write '0 \\* \\* \\* \\*'"),
        ("@reboot", "GitHub has no @reboot$"),
    ],
    "GitHub: each field has its values": [
        ("60 * * * *", "minute: expected \\*, 0-59, found '60'"),
        ("* 24 * * *", "hour: expected \\*, 0-23, found '24'"),
        ("* * 0 * *", "day of the month: expected \\*, 1-31, found '0'"),
        ("* * 32 * *", "day of the month"),
        ("* * * 13 *", "month: expected \\*, 1-12 or JAN-DEC, found '13'"),
        ("* * * * 7", "day of the week: expected \\*, 0-6 or SUN-SAT, found '7'"),
        ("* * * MON *", "month: expected .*, found 'MON'"),
        ("* * * * MONDAY", "found 'MONDAY'"),
        ("JAN * * * *", "minute: expected \\*, 0-59, found 'JAN'"),
    ],
    "GitHub: there are the operators * , - and /": [
        ("0 0 L * *", "found 'L'"),
        ("0 0 15W * *", "found '15W'"),
        ("0 0 ? * *", "found '\\?'"),
        ("0 0 * * 1#2", "found '1#2'"),
        ("-1 * * * *", "minute: expected \\*, 0-59, found ''"),
        ("1, * * * *", "found ''"),
        ("1-2-3 * * * *", "found '2-3'"),
        ("*-3 * * * *", "minute: expected"),
        ("1.5 * * * *", "found '1.5'"),
        ("+1 * * * *", "found '\\+1'"),
        ("٣ * * * *", "found '٣'"),
    ],
    "Ours: a range runs forwards, a step is a number": [
        ("* 17-9 * * *", "hour: '17-9' runs backwards"),
        ("* * * * FRI-MON", "'FRI-MON' runs backwards"),
        ("*/0 * * * *", "minute: expected a number from 1 to 99 after the / of '\\*/0'"),
        ("*/ * * * *", "after the /"),
        ("*/x * * * *", "after the /"),
        ("*/5/5 * * * *", "after the /"),
        ("*/* * * * *", "after the /"),
        ("2/4-5 * * * *", "after the /"),
        ("/1 * * * *", "minute: expected \\*, 0-59, found ''"),
        ("5--5 * * * *", "found '-5'"),
        ("5-* * * * *", "found '\\*'"),
        ("** * * * *", "found '\\*\\*'"),
        ("*/100 * * * *", "after the /"),
    ],
    "Ours: one that never comes is an error": [
        ("0 0 30 2 *", "never comes: no such month has a day 30"),
        ("0 0 31 2,4,6,9,11 *", "never comes: no such month has a day 31"),
    ],
    "Ours: one has an end": [("0," * 300 + "0 * * * *", "a cron is at most 500 characters")],
}

ZONES: dict[str, list[tuple[str, str, str, list[str]]]] = {
    "GitHub: a schedule may be read by the clock of an IANA time zone": [
        ("0 9 * * *", "America/New_York", WEDNESDAY, ["2026-07-15 13:00", "2026-07-16 13:00"]),
        ("0 9 * * *", "America/New_York", "2026-12-15 10:00", ["2026-12-15 14:00"]),
        ("30 0 * * MON", "Asia/Kolkata", WEDNESDAY, ["2026-07-19 19:00"]),
        ("0 0 1 1 *", "Pacific/Kiritimati", WEDNESDAY, ["2026-12-31 10:00"]),
    ],
    "GitHub: a time that the clock skips comes at the next valid one: 2:30 at 3:00": [
        ("30 2 * * *", "America/New_York", "2026-03-08 00:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29 00:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
    ],
    "Ours: a time that the clock shows twice comes once": [
        ("30 1 * * *", "America/New_York", "2026-11-01 00:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
        ("30 * * * *", "America/New_York", "2026-11-01 05:00", ["2026-11-01 05:30", "2026-11-01 07:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01 06:00", ["2026-11-02 06:30"]),
    ],
}


def at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "timezone", "moment", "expected"),
    [
        *(
            pytest.param(cron, "UTC", moment, expected, id=f"{sentence} | {cron} | {moment}")
            for sentence, rows in NEXT.items()
            for cron, moment, expected in rows
        ),
        *(
            pytest.param(*row, id=f"{sentence} | {' | '.join(row[:3])}")
            for sentence, rows in ZONES.items()
            for row in rows
        ),
    ],
)
def test_the_next_runs(cron: str, timezone: str, moment: str, expected: list[str]) -> None:
    schedule = Schedule(cron=cron, timezone=timezone)
    runs, after = [], at(moment)
    for _ in expected:
        after = next_after(schedule, after)
        runs.append(f"{after:%Y-%m-%d %H:%M}")
        assert after.tzinfo is UTC
    assert runs == expected


@pytest.mark.parametrize(
    ("cron", "message"),
    [pytest.param(*row, id=f"{sentence} | {row[0]}") for sentence, rows in REFUSED.items() for row in rows],
)
def test_what_is_no_cron_says_why(cron: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cron.parse(cron)


def test_a_moment_within_a_minute_or_of_another_zone_counts() -> None:
    schedule = Schedule(cron="* * * * *")
    moment = datetime(2026, 7, 15, 12, 17, 59, tzinfo=ZoneInfo("Europe/Berlin"))
    assert next_after(schedule, moment) == at("2026-07-15 10:18")


@pytest.mark.parametrize(
    "timezone", ["", "Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "x" * 5000, "a\0b"]
)
def test_what_is_no_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(ValueError, match="is not an IANA time zone such as Europe/Berlin"):
        next_after(Schedule(cron="* * * * *", timezone=timezone), at(WEDNESDAY))


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", ["10:05", "10:10", "10:15"]),
        ("*/2 * * * *", ["10:06", "10:12", "10:18"]),
        ("*/5 * * * *", ["10:05", "10:10", "10:15"]),
        ("0,1,30 * * * *", ["10:30", "11:00", "11:30"]),
    ],
)
def test_the_shortest_interval_is_five_minutes(cron: str, expected: list[str]) -> None:
    """GitHub: the shortest interval you can run scheduled workflows is once every 5 minutes."""
    last, runs = at("2026-07-15 10:00"), []
    for _ in expected:
        last = next_after(Schedule(cron=cron), last, last=last)
        runs.append(f"{last:%H:%M}")
    assert runs == expected


def test_what_was_missed_is_not_made_up_for() -> None:
    schedule = Schedule(cron="0 * * * *")
    assert next_after(schedule, at("2026-07-15 10:17"), last=at("2026-07-14 03:00")) == at("2026-07-15 11:00")
    assert next_after(schedule, at("2026-07-15 10:59"), last=at("2026-07-15 10:58")) == at("2026-07-15 12:00")
    assert at("2026-07-15 10:58") + SHORTEST > at("2026-07-15 11:00")


def test_every_next_run_is_the_first_minute_that_fits() -> None:
    """Compared with a walk over all minutes that says the rules a second way."""
    choose = random.Random(20260715)
    for _ in range(30):
        fields = [_field(choose, 0, 59), _field(choose, 0, 23), _field(choose, 1, 31), "*", _field(choose, 0, 6)]
        moment = at("2026-01-01 00:00") + timedelta(minutes=choose.randrange(500_000))
        found = next_after(Schedule(cron=" ".join(fields)), moment)
        minute = moment
        while True:
            minute += timedelta(minutes=1)
            if _fits(fields, minute):
                break
            assert minute - moment < timedelta(days=62), fields
        assert found == minute, fields


def _field(choose: random.Random, low: int, high: int) -> str:
    first = choose.randint(low, high)
    last = choose.randint(first, high)
    return choose.choice(["*", f"{first}", f"{first}-{last}", f"{first},{last}", f"*/{choose.randint(1, 9)}"])


def _fits(fields: list[str], minute: datetime) -> bool:
    values = (minute.minute, minute.hour, minute.day, minute.month, minute.isoweekday() % 7)
    fits = [_is_in(field, value, low) for field, value, low in zip(fields, values, (0, 0, 1, 1, 0), strict=True)]
    both = fields[2] != "*" and fields[4] != "*"
    return fits[0] and fits[1] and fits[3] and (fits[2] or fits[4] if both else fits[2] and fits[4])


def _is_in(field: str, value: int, low: int) -> bool:
    if field.startswith("*/"):
        return (value - low) % int(field[2:]) == 0
    if "-" in field:
        first, last = field.split("-")
        return int(first) <= value <= int(last)
    return field == "*" or value in map(int, field.split(","))


def test_time_zones_are_known_where_the_system_has_none() -> None:
    script = "from buildsys.core.cron import check_timezone as check; check('UTC'); check('Europe/Berlin')"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONTZPATH": ""}, check=True)


@pytest.mark.parametrize(
    ("cron", "until", "expected"),
    [
        ("0 * * * *", "2026-07-15 10:17", "2026-07-15 10:00"),
        ("0 * * * *", "2026-07-15 10:00", "2026-07-15 10:00"),
        ("* * * * *", "2026-07-15 10:17", "2026-07-15 10:17"),
        ("*/7 * * * *", "2026-07-15 10:06", "2026-07-15 10:00"),
        ("30 4 1 1 *", "2026-07-15 10:17", "2026-01-01 04:30"),
        ("*/5 * * 1-3 *", "2026-07-15 10:17", "2026-03-31 23:55"),
    ],
)
def test_the_newest_time_is_found_however_long_nobody_looked(cron: str, until: str, expected: str) -> None:
    schedule = Schedule(cron=cron)
    since = next_after(schedule, datetime(2025, 1, 1, tzinfo=UTC))
    moment = datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert newest(schedule, since, moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert newest(schedule, since, since) == since
