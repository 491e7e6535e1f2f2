"""Options of containers: `docker create`'s, as far as they stay within the container."""

from __future__ import annotations

import pytest

from buildsys.adapters.docker_options import RULES, TRUSTED_RULES
from buildsys.core.container_options import SAFE, TRUSTED, read_options
from buildsys.core.plan_values import PlanError

ALLOWED: list[tuple[str, tuple[str, ...]]] = [
    ("", ()),
    ("   \n ", ()),
    ("--health-cmd pg_isready", ("--health-cmd=pg_isready",)),
    ("--health-cmd=pg_isready", ("--health-cmd=pg_isready",)),
    ('--health-cmd "mysqladmin ping -h localhost"', ("--health-cmd=mysqladmin ping -h localhost",)),
    ('--health-cmd="redis-cli ping"\n--health-retries 5', ("--health-cmd=redis-cli ping", "--health-retries=5")),
    ("--health-start-period 5s --health-timeout 1s", ("--health-start-period=5s", "--health-timeout=1s")),
    ("--no-healthcheck --init --read-only", ("--no-healthcheck", "--init", "--read-only")),
    ("--init=true", ("--init",)),
    ("-e A=1 --env B=x=y", ("--env=A=1", "--env=B=x=y")),
    ("-eA=1 -u1001", ("--env=A=1", "--user=1001")),
    ("--env=A=", ("--env=A=",)),
    ("--user 1001:1001 --workdir /w --hostname h", ("--user=1001:1001", "--workdir=/w", "--hostname=h")),
    ("-m 512m --cpus 1.5 --shm-size 1g", ("--memory=512m", "--cpus=1.5", "--shm-size=1g")),
    ("--tmpfs /run:size=1m --ulimit nofile=1:2", ("--tmpfs=/run:size=1m", "--ulimit=nofile=1:2")),
    ("--network-alias db", ("--network-alias=db",)),
    ("--cap-drop ALL --cap-drop=NET_RAW", ("--cap-drop=ALL", "--cap-drop=NET_RAW")),
    ("--add-host db:10.0.0.1", ("--add-host=db:10.0.0.1",)),
    ("--entrypoint ''", ("--entrypoint=",)),
]


@pytest.mark.parametrize(("text", "options"), ALLOWED)
def test_allowed(text: str, options: tuple[str, ...]) -> None:
    assert read_options(text, "options", service=True, trusted=False) == options


OUTWARD = [
    "--privileged",
    "--privileged=true",
    "--cap-add=SYS_ADMIN",
    "--cap-add ALL",
    "--device /dev/sda",
    "--device=/dev/kvm:/dev/kvm",
    "--security-opt seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "-v /:/host",
    "-v/:/host",
    "-v=/:/host",
    "--volume /var/run/docker.sock:/s",
    "--sysctl net.ipv4.ip_forward=1",
    "--group-add docker",
    "--dns 10.0.0.1",
    "--label traefik.enable=true",
    "-l a=b",
]


@pytest.mark.parametrize("text", OUTWARD)
def test_what_reaches_out_needs_trust(text: str) -> None:
    with pytest.raises(PlanError, match="reaches out of the container; an administrator must trust the project"):
        read_options(f"--init {text}", "options", service=True, trusted=False)
    assert len(read_options(f"--init {text}", "options", service=True, trusted=True)) == 2


NEVER = [
    "--device-cgroup-rule 'c *:* rwm'",
    "--pid host",
    "--pid=host",
    "--ipc=host",
    "--uts=host",
    "--userns=host",
    "--cgroupns=host",
    "--cgroup-parent=/",
    "--network host",
    "--network=container:other",
    "--net=host",
    "--net host",
    "--volumes-from other",
    "--mount type=bind,src=/,dst=/h",
    "--gpus all",
    "--runtime runc",
]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("text", NEVER)
def test_what_is_not_built_in_is_not_promised_to_anyone(text: str, trusted: bool) -> None:
    with pytest.raises(PlanError, match="cannot be used; it is not built in"):
        read_options(f"--init {text}", "options", service=True, trusted=trusted)


def test_what_is_planned_is_what_the_driver_has_rules_for() -> None:
    assert SAFE.keys() == RULES.keys()
    assert SAFE.keys() | TRUSTED.keys() == RULES.keys() | TRUSTED_RULES.keys()
    assert not SAFE.keys() & TRUSTED.keys()


REFUSED: list[tuple[str, str]] = [
    ("--health-cmd 'x", "options: a quote is not closed"),
    ("--health-cmd", "options: --health-cmd needs a value"),
    ("-e", "options: --env needs a value"),
    ("-e HOME", "options: --env needs NAME=VALUE; a variable is never taken from the host"),
    ("--env=HOME", "options: --env needs NAME=VALUE; a variable is never taken from the host"),
    ("--env-file /etc/passwd", "options: --env-file cannot be used"),
    ("--label-file /etc/passwd", "options: --label-file cannot be used"),
    ("--cidfile /etc/cron.d/x", "options: --cidfile cannot be used"),
    ("--name other", "options: --name cannot be used; its name is the runner's"),
    ("--publish 80:80", "options: --publish cannot be used; write 'ports'"),
    ("-p 80:80", "options: --publish cannot be used; write 'ports'"),
    ("-P", "options: -P cannot be used"),
    ("--restart always", "options: --restart cannot be used; it is never started again"),
    ("--rm", "options: --rm cannot be used"),
    ("-it", "options: -i cannot be used"),
    ("--healthcmd x", "options: --healthcmd cannot be used; did you mean --health-cmd?"),
    ("--init=false", "options: --init takes no value"),
    ("--add-host h:host-gateway", "options: host-gateway is the host itself; an administrator must trust"),
    ("--add-host=h:HOST-GATEWAY", "options: host-gateway is the host itself; an administrator must trust"),
    ("alpine sh", "options: expected an option such as --health-cmd, found 'alpine'"),
    ("--init ; rm -rf /", "options: expected an option such as --health-cmd, found ';'"),
    ("-", "options: expected an option such as --health-cmd, found '-'"),
    ("--", "options: -- cannot be used"),
    ("--user a\0b", "options: --user has a NUL character"),
    ("--init " * 1000, "options: more than 256 options"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_refused(text: str, told: str) -> None:
    with pytest.raises(PlanError) as refused:
        read_options(text, "options", service=True, trusted=False)
    assert str(refused.value).startswith(told)
    assert len(str(refused.value)) < 200


def test_a_job_s_container_has_its_entry_point_from_the_runner() -> None:
    """`jobs.<job_id>.container.options`: --entrypoint is not supported."""
    with pytest.raises(PlanError, match="--entrypoint cannot be used for a job's own container"):
        read_options("--entrypoint sh", "options", service=False, trusted=True)


@pytest.mark.parametrize("text", ["--label buildsys.runner=x", "-l buildsys=x"])
def test_the_runner_s_own_labels_are_nobody_else_s(text: str) -> None:
    with pytest.raises(PlanError, match="labels that begin with 'buildsys' are the runner's own"):
        read_options(text, "options", service=True, trusted=True)
