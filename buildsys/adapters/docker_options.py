"""A container's `options` in the engine's own words: each by a rule of its own, and without a rule none.

What reaches out of the container has its rules apart; they are looked at for trusted projects only. Amounts lower the
runner's limits and never raise them.

Sources: the reference of `docker container create`, and of the engine's API for the same call.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any

from buildsys.core.driver import Equipment
from buildsys.errors import ContainerRefused

ROOT = "/buildsys"
"""Where a job's container has its folder."""

ALIAS = "network-alias"

Config = dict[str, Any]
Rule = Callable[[Config, str], None]

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DEVICE = re.compile(r"(?P<host>/[^:]+)(?::(?P<inside>/[^:]+))?(?::(?P<rights>[rwm]+))?")


def equip(config: Config, equipment: Equipment, *, trusted: bool) -> None:
    """Add variables, options and volumes to the body of a `containers/create`, whose `HostConfig` has its limits.

    Raises `ContainerRefused` for an option or volume that is not allowed, or whose value cannot be read.
    """
    config["Env"] = [*(f"{name}={value}" for name, value in equipment.env.items()), *config.get("Env", ())]
    rules = {**RULES, **TRUSTED_RULES} if trusted else RULES
    for name, value in sorted(map(_split, equipment.options), key=_taking_first):
        if name not in rules:
            raise ContainerRefused(
                f"the container option --{name[:40]} is not built in, or not allowed for this project"
            )
        try:
            rules[name](config, value)
        except ValueError as error:
            raise ContainerRefused(f"the container option --{name}: {error}") from None
    # A name that is there twice means one thing to a shell and another to a program: the last of each is kept.
    config["Env"] = list({entry.partition("=")[0]: entry for entry in config["Env"]}.values())
    if equipment.volumes and not trusted:
        raise ContainerRefused("volumes reach out of the container: an administrator must trust the project first")
    for volume in equipment.volumes:
        try:
            _volume(config, volume)
        except ValueError as error:
            raise ContainerRefused(f"the volume {volume[:80]!r}: {error}") from None


def aliases(equipment: Equipment) -> list[str]:
    """The names that the container is to have on its network."""
    return [value for name, value in map(_split, equipment.options) if name == ALIAS]


def _split(option: str) -> tuple[str, str]:
    name, _, value = option.removeprefix("--").partition("=")
    return name, value


def _taking_first(option: tuple[str, str]) -> bool:
    """The engine adds capabilities after it dropped others, in whichever order they are written."""
    return option[0] != "cap-drop"


def _without(config: Config, value: str) -> None:
    """Drop a capability, or all but the one by which the runner ends steps."""
    name = value.upper().removeprefix("CAP_")
    host = config["HostConfig"]
    kept = () if name == "ALL" else (one for one in host["CapAdd"] if one != name)
    host["CapAdd"] = list(dict.fromkeys((*kept, "KILL")))


def _memory(config: Config, value: str) -> None:
    memory = min(_size(value), config["HostConfig"]["Memory"])
    config["HostConfig"].update(Memory=memory, MemorySwap=memory)


def _cpus(config: Config, value: str) -> None:
    host = config["HostConfig"]
    host["NanoCpus"] = min(round(_number(value) * 1e9), host["NanoCpus"])


def _processes(config: Config, value: str) -> None:
    host = config["HostConfig"]
    host["PidsLimit"] = min(_whole(value), host["PidsLimit"])


def _variable(config: Config, value: str) -> None:
    name, equals, _ = value.partition("=")
    if not name or not equals:
        raise ValueError("expected NAME=VALUE")
    config["Env"].insert(0, value)


def _label(config: Config, value: str) -> None:
    name, _, text = value.partition("=")
    if name.lower().startswith("buildsys"):
        raise ValueError("labels that begin with 'buildsys' are the runner's own")
    config["Labels"].setdefault(name, text)


def _health(key: str, read: Callable[[str], object]) -> Rule:
    def rule(config: Config, value: str) -> None:
        config.setdefault("Healthcheck", {})[key] = read(value)

    return rule


def _health_command(value: str) -> list[str]:
    return ["CMD-SHELL", value]


def _no_health(config: Config, _: str) -> None:
    config["Healthcheck"] = {"Test": ["NONE"]}


def _temporary(config: Config, value: str) -> None:
    path, _, options = value.partition(":")
    config["HostConfig"].setdefault("Tmpfs", {})[_place(path)] = options


def _ulimit(config: Config, value: str) -> None:
    name, equals, amounts = value.partition("=")
    soft, _, hard = amounts.partition(":")
    if not equals or not name.isalpha():
        raise ValueError("expected a limit such as nofile=1024:2048")
    if name == "core":
        raise ValueError("core dumps are left to the host")
    limits = config["HostConfig"].setdefault("Ulimits", [])
    limits.append({"Name": name, "Soft": _limit(soft), "Hard": _limit(hard or soft)})


def _field(key: str, read: Callable[[str], object] = str) -> Rule:
    """A field of the container."""

    def rule(config: Config, value: str) -> None:
        config[key] = read(value)

    return rule


def _host_field(key: str, read: Callable[[str], object] = str) -> Rule:
    """A field of how the host treats the container."""

    def rule(config: Config, value: str) -> None:
        config["HostConfig"][key] = read(value)

    return rule


def _host_entry(key: str, read: Callable[[str], object] = str) -> Rule:
    def rule(config: Config, value: str) -> None:
        config["HostConfig"][key] = [*config["HostConfig"].get(key, ()), read(value)]

    return rule


def _volume(config: Config, value: str) -> None:
    parts = value.split(":")
    target = _place(parts[min(1, len(parts) - 1)])
    if len(parts) == 1:
        config.setdefault("Volumes", {})[target] = {}
    else:
        config["HostConfig"].setdefault("Binds", []).append(value)


def _sysctl(config: Config, value: str) -> None:
    name, _, amount = value.partition("=")
    config["HostConfig"].setdefault("Sysctls", {}).setdefault(name, amount)


def _device(value: str) -> dict[str, str]:
    found = _DEVICE.fullmatch(value)
    if found is None:
        raise ValueError("expected a device such as /dev/fuse")
    host = found["host"]
    return {
        "PathOnHost": host,
        "PathInContainer": found["inside"] or host,
        "CgroupPermissions": found["rights"] or "rwm",
    }


def _other_host(value: str) -> str:
    if "host-gateway" in value.lower():
        raise ValueError("host-gateway is the host itself")
    return value


def _yes(_: str) -> bool:
    return True


def _one(value: str) -> list[str]:
    return [value]


def _nothing(config: Config, value: str) -> None:
    """For what is not the container's own to have."""


def _place(path: str) -> str:
    """A path in the container that hides nothing of ours."""
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"expected an absolute path, found {path[:60]!r}")
    plain = "/" + posixpath.normpath(path).lstrip("/")
    if plain == "/" or f"{plain}/".startswith(f"{ROOT}/"):
        raise ValueError(f"{path[:60]} is the job's own")
    return plain


def _size(value: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", value.lower())
    if found is None:
        raise ValueError("expected a size such as 512m")
    return int(float(found[1]) * _UNITS[found[2]])


def _span(value: str) -> int:
    """Nanoseconds of a span such as 1m30s."""
    if value != "0" and not re.fullmatch(rf"(?:{_SPAN.pattern})+", value):
        raise ValueError("expected a time such as 10s or 1m30s")
    return sum(round(float(amount) * _NANOSECONDS[unit]) for amount, unit in _SPAN.findall(value))


def _number(value: str) -> float:
    if not re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", value) or not float(value):
        raise ValueError("expected a number above 0")
    return float(value)


def _whole(value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value) or not int(value):
        raise ValueError("expected a whole number above 0")
    return int(value)


def _limit(value: str) -> int:
    if not re.fullmatch(r"-1|\d{1,18}", value):
        raise ValueError("expected whole numbers")
    return int(value)


RULES: dict[str, Rule] = {
    "add-host": _host_entry("ExtraHosts", _other_host),
    "cap-drop": _without,
    "cpus": _cpus,
    "entrypoint": _field("Entrypoint", _one),
    "env": _variable,
    "health-cmd": _health("Test", _health_command),
    "health-interval": _health("Interval", _span),
    "health-retries": _health("Retries", _whole),
    "health-start-period": _health("StartPeriod", _span),
    "health-timeout": _health("Timeout", _span),
    "hostname": _field("Hostname"),
    "init": _host_field("Init", _yes),
    "memory": _memory,
    ALIAS: _nothing,
    "no-healthcheck": _no_health,
    "pids-limit": _processes,
    "read-only": _host_field("ReadonlyRootfs", _yes),
    "shm-size": _host_field("ShmSize", _size),
    "stop-signal": _field("StopSignal"),
    "stop-timeout": _field("StopTimeout", _whole),
    "tmpfs": _temporary,
    "ulimit": _ulimit,
    "user": _field("User"),
    "workdir": _field("WorkingDir"),
}
"""Of the options that stay within the container."""

TRUSTED_RULES: dict[str, Rule] = {
    "add-host": _host_entry("ExtraHosts"),
    "cap-add": _host_entry("CapAdd"),
    "device": _host_entry("Devices", _device),
    "dns": _host_entry("Dns"),
    "dns-search": _host_entry("DnsSearch"),
    "group-add": _host_entry("GroupAdd"),
    "label": _label,
    "privileged": _host_field("Privileged", _yes),
    "security-opt": _host_entry("SecurityOpt"),
    "sysctl": _sysctl,
    "volume": _volume,
}
