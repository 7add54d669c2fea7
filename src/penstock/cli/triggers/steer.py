"""``penstock triggers pause | resume | retry | rm``."""

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, TriggerName, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.triggers.show import as_json_of


def pause(name: TriggerName, actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Take no events, and hold back those that are no runs yet. Runs that it has made go on."""
    return execute(_pause(name, actor_or_account(actor), tenant, as_json))


def resume(name: TriggerName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Take events again, and let go those held back. What was sent in the pause is not made up for."""
    return execute(_resume(name, tenant, as_json))


def retry(name: TriggerName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Have events that failed tried again, such as after the input was mended; 1000 at a time."""
    return execute(_retry(name, tenant, as_json))


def rm(name: TriggerName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Forget a trigger, with its events that are no runs yet. Runs that it has made stay."""
    return execute(_rm(name, tenant, as_json))


async def _pause(name: str, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.triggers.pause(name, actor=actor)
        item = await platform.triggers.get(name)
    print_json(as_json_of(item)) if as_json else say(f"paused trigger {item.name}")
    return ExitCode.OK


async def _resume(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.triggers.resume(name)
        item = await platform.triggers.get(name)
    print_json(as_json_of(item)) if as_json else say(f"resumed trigger {item.name}")
    return ExitCode.OK


async def _retry(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        count = await platform.triggers.retry(name)
    print_json({"trigger": name, "retried": count}) if as_json else say(f"{count:,} events of {name} are tried again")
    return ExitCode.OK


async def _rm(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        await platform.triggers.remove(name)
    print_json({"trigger": name, "removed": True}) if as_json else say(f"removed trigger {name}")
    return ExitCode.OK
