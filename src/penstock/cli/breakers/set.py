"""``penstock breakers set``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.breakers.options import BreakerName, ForTenant, breaking, condition_words, scope_words
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid

if TYPE_CHECKING:
    from penstock.ports.breakers import Breaker

SCOPES = ("agent", "task_type", "customer", "tool", "model")
MEANWHILE = ("fail", "fallback", "queue")


def set_breaker(  # noqa: PLR0917 - each parameter is an option of the command
    name: BreakerName,
    scope: Annotated[str, typer.Option("--scope", help="agent, task_type, customer, tool or model.")],
    value: Annotated[str, typer.Option("--value", help="One of them; * = each has a circuit of its own.")] = "*",
    failures: Annotated[int, typer.Option("--failures", help="Trips after so many failures in a row.")] = 0,
    error_rate: Annotated[float, typer.Option("--error-rate", help="Trips when over this share of calls fail.")] = 0,
    slow: Annotated[float, typer.Option("--slow", metavar="SECONDS", help="A call that takes longer is slow.")] = 0,
    slow_rate: Annotated[float, typer.Option("--slow-rate", help="With --slow: the share that may be.")] = 0.05,
    cost_factor: Annotated[
        float, typer.Option("--cost-factor", help="Trips when the mean cost is over so many times the expected.")
    ] = 0,
    expected: Annotated[
        str, typer.Option("--expected", metavar="USD", help="Of a call (or run); default: learned.", show_default=False)
    ] = "",
    runs: Annotated[bool, typer.Option("--runs", help="With --cost-factor: of runs, not of calls.")] = False,
    cost: Annotated[
        str, typer.Option("--cost", metavar="USD", help="Trips when more is spent.", show_default=False)
    ] = "",
    drift: Annotated[bool, typer.Option("--drift", help="Trips when answers drift away from the first ones.")] = False,
    calls: Annotated[int, typer.Option("--calls", help="Of the mean, or for a share at least; 0 = 50, 20.")] = 0,
    within: Annotated[float, typer.Option("--within", metavar="SECONDS", help="For --cost and the shares.")] = 60,
    open_seconds: Annotated[
        float, typer.Option("--open", metavar="SECONDS", help="Until it lets probes through.")
    ] = 60,
    probes: Annotated[int, typer.Option("--probes", help="Good ones after which it closes.")] = 3,
    meanwhile: Annotated[str, typer.Option("--meanwhile", help="fail, fallback or queue.")] = "fail",
    fallback: Annotated[str, typer.Option("--fallback", metavar="MODEL", help="Asked meanwhile.")] = "",
    leave_in_flight: Annotated[
        bool, typer.Option("--leave-in-flight", help="Do not cut off model calls and reads that are under way.")
    ] = False,
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Set a circuit breaker, or change it; all of it is replaced. It trips when any of its conditions is met."""
    from penstock.kernel.money import nano_usd
    from penstock.ports.breakers import Breaker, Condition

    for what, given, known in (("--scope", scope, SCOPES), ("--meanwhile", meanwhile, MEANWHILE)):
        if given not in known:
            raise InputInvalid(f"{what} {given[:64]!r} is not known", hint=", ".join(known))
    conditions: list[Condition] = []
    if failures:
        conditions.append(Condition("failures", limit=failures))
    if error_rate:
        conditions.append(Condition("error_rate", limit=error_rate, seconds=within, calls=calls))
    if slow:
        conditions.append(Condition("latency", limit=slow_rate, seconds=within, calls=calls, slow_seconds=slow))
    if cost_factor:
        nano = nano_usd(expected) if expected else 0
        conditions.append(
            Condition("cost_mean", limit=cost_factor, calls=calls, expected=nano, of="run" if runs else "call")
        )
    if cost:
        conditions.append(Condition("cost_rate", limit=nano_usd(cost), seconds=within))
    if drift:
        conditions.append(Condition("drift"))
    breaker = Breaker(
        "",
        name,
        scope,  # type: ignore[arg-type]  # looked up above
        value,
        tuple(conditions),
        open_seconds,
        probes,
        meanwhile,  # type: ignore[arg-type]
        fallback,
        not leave_in_flight,
    )
    return execute(_set(breaker, tenant, actor_or_account(actor), as_json))


async def _set(breaker: "Breaker", tenant: str | None, actor: str, as_json: bool) -> int:
    async with breaking(tenant) as breakers:
        made = await breakers.put(breaker, actor)
    if as_json:
        print_json(made)
    else:
        conditions = "; or ".join(condition_words(condition) for condition in made.conditions)
        note(safe(f"{made.name}: {scope_words(made)}, trips when {conditions}; on every worker within a second"))
    return ExitCode.OK
