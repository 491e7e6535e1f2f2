"""Every driver's `kill`: nothing of a job's processes stays, and its init goes on."""

from __future__ import annotations

import signal

from containers import Start, processes, until

from buildsys.core.driver import Driver, Limits

ORPHAN = "setsid sh -c '(exec sleep {token}) & exec sleep {token}' </dev/null >/dev/null 2>&1 &"


async def test_kill_leaves_nothing_of_what_ignores_term_and_the_init_goes_on(
    start: Start, driver: Driver, token: str
) -> None:
    job = await start()
    await job.run(f"(trap '' TERM; exec sleep {token}) &")
    stubborn = "trap '' HUP INT QUIT TERM USR1 USR2"
    step = job.write(f"echo begun; {stubborn}\n{ORPHAN.format(token=token)}\n(sleep {token}; true); true")
    await job.order(step)
    await until(lambda: len(processes(token)) >= 4)
    await driver.terminate(job.spec.name)
    await driver.kill(job.spec.name)
    assert processes(token) == []
    result = await job.result(step)
    assert result.log.splitlines()[0] == b"begun"
    assert result.status == 128 + signal.SIGKILL
    assert (await job.run("echo alive")).log == b"alive\n"
    await driver.kill(job.spec.name)
    assert (await job.run("echo alive")).log == b"alive\n"


async def test_kill_takes_a_step_for_none_of_the_inits_tools(start: Start, driver: Driver, token: str) -> None:
    job = await start()
    step = job.write(f"trap '' TERM; exec sleep {token}")
    await job.order(step)
    await until(lambda: processes(f"sleep\0{token}") != [])
    await driver.kill(job.spec.name)
    assert processes(token) == []
    assert (await job.result(step)).status == 128 + signal.SIGKILL


async def test_nothing_stays_of_a_step_that_passes_for_a_tool_once_it_has_ended(
    start: Start, driver: Driver, token: str
) -> None:
    job = await start()
    deaf = "trap '' HUP INT QUIT TERM USR1 USR2"
    step = job.write(f"{deaf}\nsleep {token} & exec sleep 2")
    await job.order(step)
    await until(lambda: processes(token) != [])
    await driver.kill(job.spec.name)
    await job.result(step)
    await driver.kill(job.spec.name)
    assert processes(token) == []
    assert (await job.run("echo alive")).log == b"alive\n"


async def test_kill_ends_what_forks_on_and_on(start: Start, driver: Driver, token: str) -> None:
    job = await start(limits=Limits(pids=200))
    bomb = f"bomb() {{ sh -c 'sleep {token}' & (bomb) & sleep 0.01; (bomb) & }}"
    step = job.write(f"trap '' TERM; {bomb}; bomb 2>/dev/null; wait")
    await job.order(step)
    await until(lambda: len(processes(token)) >= 20)
    await driver.kill(job.spec.name)
    await job.result(step)
    await driver.kill(job.spec.name)
    assert processes(token) == []
    assert (await job.run("echo alive")).log == b"alive\n"


async def test_a_killed_container_ends_at_its_lifetime_all_the_same(start: Start, driver: Driver, token: str) -> None:
    job = await start(lifetime=4)
    await driver.kill(job.spec.name)
    await job.order(job.write(f"trap '' TERM; sleep {token}; sleep {token}"))
    await until(lambda: processes(token) != [])
    await until(lambda: processes(token) == [])


async def test_kill_of_what_is_gone_is_no_error(start: Start, driver: Driver) -> None:
    job = await start()
    await driver.remove(job.spec)
    await driver.kill(job.spec.name)
