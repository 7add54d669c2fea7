"""``penstock schedules pause | resume | rm | fire``."""

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, ScheduleName, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.schedules.show import as_json_of, when


def pause(name: ScheduleName, actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Fire a schedule no more until it is resumed. Runs that it has made go on."""
    return execute(_pause(name, actor_or_account(actor), tenant, as_json))


def resume(name: ScheduleName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Fire a schedule again, from its next time on. What lay in the pause is not made up for."""
    return execute(_resume(name, tenant, as_json))


def rm(name: ScheduleName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Forget a schedule and erase its stored input. Runs that it has made stay."""
    return execute(_rm(name, tenant, as_json))


def fire(name: ScheduleName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Have a worker make one run of a schedule soon, out of turn, also while it is paused."""
    return execute(_fire(name, tenant, as_json))


async def _pause(name: str, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.schedules.pause(name, actor=actor)
        item = await platform.schedules.get(name)
    print_json(as_json_of(item)) if as_json else say(f"paused schedule {item.name}")
    return ExitCode.OK


async def _resume(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.schedules.resume(name)
        item = await platform.schedules.get(name)
    print_json(as_json_of(item)) if as_json else say(
        f"resumed schedule {item.name}: next at {when(item, item.next_at)}"
    )
    return ExitCode.OK


async def _rm(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.schedules.remove(name)
    print_json({"schedule": name, "removed": True}) if as_json else say(f"removed schedule {name}")
    return ExitCode.OK


async def _fire(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.schedules.fire(name)
        item = await platform.schedules.get(name)
    if as_json:
        print_json(as_json_of(item))
    else:
        say(f"asked for a run of schedule {item.name}")
        note(f"a worker that offers {item.agent} makes it")
    return ExitCode.OK
