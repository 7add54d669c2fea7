"""``penstock releases draft``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agent
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Reason, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.releases.options import SHORT, ForTenant, plain_release, releasing
from penstock.cli.text import safe
from penstock.kernel.errors import ReleaseInvalid

if TYPE_CHECKING:
    from penstock.agents.definition import Definition
    from penstock.events import BudgetRecord


@dataclass(slots=True, frozen=True)
class _Limits:
    usd: str | None
    tokens: int | None
    steps: int | None


def draft(  # noqa: PLR0917 - each parameter is an option of the command
    agent: Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="Where the agent's code is.")],
    instructions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another prompt than the module's.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another model; repeatable, the first choice first.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=JSON",
            help="max_tokens, temperature, timeout_seconds, attempts, repairs, show_budget, ...; repeatable.",
            show_default=False,
        ),
    ] = None,
    budget_usd: Annotated[str | None, typer.Option(metavar="USD", help="Money of a run.", show_default=False)] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Tokens of a run.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Model turns of a run.", show_default=False)] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A policy of its own: a file, or a folder of them.", show_default=False),
    ] = None,
    filters: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Other filters, as JSON; {} = none at all.", show_default=False),
    ] = None,
    code_version: Annotated[
        str, typer.Option(metavar="TEXT", help="Of the code, such as a commit, for the record.", show_default=False)
    ] = "",
    reason: Reason = "",
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Keep a release of an agent: its prompt, model, settings, tools, filters, policy and budget, as one signed record.

    What is not said is as the module has it. The same content by the same author is the same release.
    """
    definition = load_agent(agent)
    changes: dict[str, Any] = {"version": code_version, "models": model or []}
    if instructions is not None:
        changes["prompts"] = {"instructions": _text(instructions)}
    if set_:
        changes["settings"] = dict(_pair(item) for item in set_)
    if policy is not None:
        from penstock.adapters.policy_files import PolicyFiles

        changes["policy"] = dict(PolicyFiles(policy).read())
    if filters is not None:
        changes["filters"] = _filters(filters)
    changes["budget"] = _budget(definition, _Limits(budget_usd, budget_tokens, steps))
    return execute(_draft(definition, changes, actor_or_account(actor), reason, tenant, as_json))


async def _draft(
    agent: "Definition", changes: dict[str, Any], actor: str, reason: str, tenant: str | None, as_json: bool
) -> int:
    async with opened(tenant) as platform:
        made = await releasing(platform).draft(agent, actor, reason=reason, **changes)
    if as_json:
        print_json(plain_release(made))
    else:
        say(made.id)
        note(safe(f"a {made.state} of {made.agent}; next: penstock releases submit {made.id[:SHORT]}"))
    return ExitCode.OK


def _budget(agent: "Definition", limits: _Limits) -> "BudgetRecord | None":
    """The agent's budget with these limits; None = as it is."""
    from penstock.agents.budget import Budget

    given = {"usd": limits.usd, "tokens": limits.tokens, "steps": limits.steps}
    if all(limit is None for limit in given.values()):
        return None
    said = Budget(**given).record()  # type: ignore[arg-type]
    names = {"usd": "nano", "tokens": "tokens", "steps": "steps"}
    changed = {names[name]: getattr(said, names[name]) for name, limit in given.items() if limit is not None}
    return msgspec.structs.replace(agent.budget, **changed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ReleaseInvalid(f"{path} cannot be read: {error}") from error


def _filters(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(_text(path))
    except ValueError as error:
        raise ReleaseInvalid(f"{path} is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise ReleaseInvalid(f"{path} holds no object", hint='such as {"everywhere": {"card": "redact"}}')
    return said


def _pair(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    try:
        if not equals:
            raise ValueError("there is no =")
        return name.strip(), json.loads(value)
    except ValueError as error:
        raise ReleaseInvalid(f"--set {item[:80]!r}: {error}", hint="write NAME=JSON, such as max_tokens=500") from error
