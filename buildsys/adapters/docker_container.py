"""What a job's container is made of: the engine's own words for it, and the meaning of how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildsys.adapters.docker_options import ROOT, equip
from buildsys.core.driver import ContainerSpec, Limits

NAME_LABEL = "buildsys.container"
"""The job's name, on its container and on all that stands beside it."""
INIT = Path(__file__).with_name("init.sh").read_text()
KILL = Path(__file__).with_name("kill.sh").read_text()
TOOLS = ("cat", "dd", "ls", "mkdir", "mkfifo", "mv", "sleep")
"""What init.sh uses beside `sh`. Every image of a Linux distribution has them: coreutils or busybox."""

FOLDERS = {"HOME": "home", "TMPDIR": "tmp"}

NO_FOLDER = 63
FIRST_MISSING_TOOL = 64
NOT_EXECUTABLE, NO_SUCH_PROGRAM = 126, 127
LIFETIME_OVER = 128 + 14
OUT_OF_MEMORY = "out of memory"

CAPABILITIES = (
    "CHOWN",  # package managers unpack files that belong to many users
    "DAC_OVERRIDE",  # root writes where the image's other users may: the workspace belongs to the runner's user
    "FOWNER",  # and sets modes and times there
    "FSETID",  # and keeps set-id bits of what it unpacks
    "KILL",  # terminate reaches the processes of every user
    "SETGID",  # apt, su and database servers step down
    "SETUID",  # to users of their own
)
"""What root keeps in a job. Not among it: NET_RAW (forged packets to neighbours), MKNOD, SYS_CHROOT, SETFCAP,
AUDIT_WRITE, SETPCAP and NET_BIND_SERVICE, which engines let ports below 1024 do without since 20.10."""


def container_config(spec: ContainerSpec, *, image: str, network: str) -> dict[str, Any]:
    """The body of the engine's `containers/create` for a job. Raises `DriverError` for an option that is refused."""
    config: dict[str, Any] = {
        "Image": image,
        "Labels": {**spec.labels, NAME_LABEL: spec.name},
        "Env": [f"{variable}={ROOT}/{folder}" for variable, folder in FOLDERS.items()],
        "WorkingDir": ROOT,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **isolation(CAPABILITIES),
            **limited(spec.limits),
            "Mounts": [{"Type": "bind", "Source": str(spec.folder), "Target": ROOT}],
            "NetworkMode": network,
        },
    }
    equip(config, spec, trusted=spec.trusted)
    config.update(Entrypoint=init_command(spec.lifetime), Cmd=[])
    return config


def init_command(lifetime: float) -> list[str]:
    """The init as arguments: nothing of it has to be mounted."""
    return ["sh", "-c", INIT, "buildsys", str(max(round(lifetime), 1)), *TOOLS]


def isolation(capabilities: tuple[str, ...]) -> dict[str, Any]:
    """What holds for every container of ours, with these capabilities for root. `Init` reaps and passes on signals."""
    return {
        "CapDrop": ["ALL"],
        "CapAdd": list(capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "Init": True,
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
    }


def limited(limits: Limits) -> dict[str, Any]:
    """What a container may use, for its `HostConfig`."""
    return {
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "NanoCpus": round(limits.cpus * 1e9),
        "PidsLimit": limits.pids,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }


def refusal(code: int) -> str | None:
    """Why the image's `sh` ended before the first step, None where the exit code tells of no such thing."""
    needs = f"a job's image needs sh, {', '.join(TOOLS)}"
    if code == NO_SUCH_PROGRAM:
        return f"it has no `sh`; {needs}"
    if code == NOT_EXECUTABLE:
        return "its `sh` cannot be executed: is it made for another architecture?"
    tool = code - FIRST_MISSING_TOOL
    if 0 <= tool < len(TOOLS):
        return f"it has no `{TOOLS[tool]}`; {needs}"
    return None


def stop_reason(state: dict[str, Any]) -> str | None:
    """Why a container is not running, from the engine's `State`; None while it runs."""
    if state["Running"]:
        return None
    if state["ExitCode"] == LIFETIME_OVER:
        return "its lifetime was over"
    if state["OOMKilled"]:
        return OUT_OF_MEMORY
    if state["Error"]:
        return str(state["Error"])
    if state["Status"] == "created":
        return "not started"
    return f"ended with status {state['ExitCode']}"
