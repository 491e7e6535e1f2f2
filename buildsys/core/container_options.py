"""The `options` of a container: those of `docker create` that reach nothing outside the container.

All others would take a build out of it: into the host's files, network, processes or devices. An administrator may
trust a project with those that are built in.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping

from buildsys.core.plan_values import PlanError

MOST = 256
"""Options of a container, at most."""

WAY_OUT = "'buildsys project set PROJECT --trusted'; for a run without a server: 'buildsys run --trusted'"
"""How an administrator trusts a project, and whoever runs it on their own machine."""

SAFE = {
    **dict.fromkeys(("cpus", "env", "health-cmd", "health-interval", "health-retries", "health-start-period"), True),
    **dict.fromkeys(("cap-drop", "health-timeout", "hostname", "memory", "network-alias", "pids-limit"), True),
    **dict.fromkeys(("shm-size", "stop-signal", "stop-timeout", "tmpfs", "ulimit", "user", "workdir"), True),
    **dict.fromkeys(("add-host", "entrypoint"), True),
    **dict.fromkeys(("init", "no-healthcheck", "read-only"), False),
}
"""Whether each takes a value."""

TRUSTED = {
    **dict.fromkeys(("cap-add", "device", "dns", "dns-search", "group-add"), True),
    **dict.fromkeys(("label", "security-opt", "sysctl", "volume"), True),
    "privileged": False,
}
"""Whether each of those that reach out takes a value. Programs of the host act on labels: proxies, updaters."""

_NOT_BUILT_IN = (
    *("cgroup-parent", "cgroupns", "device-cgroup-rule", "gpus", "ipc", "mount", "network", "pid", "runtime"),
    *("userns", "uts", "volumes-from"),
)
_ELSEWHERE = {
    **dict.fromkeys(_NOT_BUILT_IN, "it is not built in"),
    "publish": "write 'ports'",
    "name": "its name is the runner's",
    "restart": "it is never started again",
}
_LONG = {
    "e": "env",
    "h": "hostname",
    "l": "label",
    "m": "memory",
    "net": "network",
    "p": "publish",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}
"""The long names of the short options, and the new one of an old."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_OWN_LABEL = re.compile(r"buildsys(?:[./=-]|$)", re.IGNORECASE)


def read_options(text: str, key: str, *, service: bool, trusted: bool) -> tuple[str, ...]:
    """The options in their long form, as `--name=value` or `--name`; values are as the shell's quoting has them.

    A job's own container has its entry point from the runner, so `--entrypoint` is for services. Raises `PlanError`
    with `key` in front.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise PlanError(f"{key}: a quote is not closed") from None
    if len(words) > 2 * MOST:
        raise PlanError(f"{key}: more than {MOST} options")
    known = {**SAFE, **TRUSTED} if trusted else SAFE
    read = []
    ahead = iter(words)
    for word in ahead:
        name, value = _split(word, key)
        _check_name(name, known, key, service=service)
        if not known[name]:
            if value not in (None, "true"):
                raise PlanError(f"{key}: --{name} takes no value")
            read.append(f"--{name}")
            continue
        value = next(ahead, None) if value is None else value
        if value is None:
            raise PlanError(f"{key}: --{name} needs a value")
        _check_value(name, value, key, trusted=trusted)
        read.append(f"--{name}={value}")
    return tuple(read)


def _split(word: str, key: str) -> tuple[str, str | None]:
    """An option's long name, and its value where the same word has it."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return _LONG["net"] if name == "net" else name, value if equals else None
    if word.startswith("-") and len(word) > 1:
        return _LONG.get(word[1], word[1]), word[2:].removeprefix("=") or None
    raise PlanError(f"{key}: expected an option such as --health-cmd, found {word[:60]!r}")


def _check_name(name: str, known: Mapping[str, bool], key: str, *, service: bool) -> None:
    shown = f"-{name}" if len(name) == 1 else f"--{name[:60]}"
    if name in _ELSEWHERE:
        raise PlanError(f"{key}: {shown} cannot be used; {_ELSEWHERE[name]}")
    if name in known and (service or name != "entrypoint"):
        return
    if name in TRUSTED:
        raise PlanError(
            f"{key}: {shown} reaches out of the container; an administrator must trust the project for it: {WAY_OUT}"
        )
    if name == "entrypoint":
        raise PlanError(f"{key}: {shown} cannot be used for a job's own container: its steps are what runs there")
    near = difflib.get_close_matches(name[:60], known, n=1)
    raise PlanError(f"{key}: {shown} cannot be used{f'; did you mean --{near[0]}?' if near else ''}")


def _check_value(name: str, value: str, key: str, *, trusted: bool) -> None:
    if "\0" in value:
        raise PlanError(f"{key}: --{name} has a NUL character")
    if name == "env" and not _VARIABLE.fullmatch(value):
        raise PlanError(f"{key}: --env needs NAME=VALUE; a variable is never taken from the host")
    if name == "label" and _OWN_LABEL.match(value):
        raise PlanError(f"{key}: labels that begin with 'buildsys' are the runner's own")
    if name == "add-host" and not trusted and "host-gateway" in value.lower():
        raise PlanError(
            f"{key}: host-gateway is the host itself; an administrator must trust the project for it: {WAY_OUT}"
        )
