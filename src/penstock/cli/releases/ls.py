"""``penstock releases ls``, ``show`` and ``verify``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.releases.options import SHORT, ForTenant, ReleaseId, plain_release, releases_of, state_words
from penstock.cli.text import plural, safe

if TYPE_CHECKING:
    from penstock.runs.rollouts.releasing import Shown

PAGE = 500


def ls(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """List releases, newest first."""
    return execute(_ls(agent, limit, tenant, as_json))


async def _ls(agent: str | None, limit: int, tenant: str | None, as_json: bool) -> int:
    async with releases_of(tenant) as (_, releases):
        found = await releases.page(agent, None, limit)
        agents = sorted({release.agent for release in found}) if releases.trusts else []
        problems = {name: (await releases.ledger(name)).problem for name in agents}
    if as_json:
        print_json([plain_release(release) for release in found])
        return ExitCode.OK
    if not found:
        note("no releases: agents run as their code says; see `penstock releases draft --help`")
        return ExitCode.OK
    from penstock.views.lines import clock_time

    rows = [
        (
            release.id[:SHORT],
            release.agent,
            state_words(release),
            release.author,
            release.approved_by or "-",
            clock_time(release.drafted_at),
        )
        for release in found
    ]
    say(columns(("RELEASE", "AGENT", "STATE", "AUTHOR", "APPROVED BY", "DRAFTED"), rows, drop=("DRAFTED", "AUTHOR")))
    for name, why in problems.items():
        if why:
            note(safe(f"what was decided about {name} does not count here: {why}"))
            note(safe(f"look at what is in use, and approve it anew: penstock releases confirm {name}"))
    return ExitCode.OK


def show(release: ReleaseId, tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """Show a release: its content, what became of it, and which live workers cannot run it."""
    return execute(_show(release, tenant, as_json))


async def _show(text: str, tenant: str | None, as_json: bool) -> int:
    async with releases_of(tenant) as (_, releases):
        shown = await releases.show(text)
    if as_json:
        print_json(
            {
                **plain_release(shown.release),
                "objection": shown.objection,
                "problem": shown.problem,
                "keys": plain(shown.keys),
                "manifest": plain(shown.manifest),
                "steps": plain(shown.steps),
                "refusals": plain(shown.refusals),
            }
        )
    else:
        _say(shown)
    return ExitCode.OK


def _say(shown: "Shown") -> None:
    from penstock.views.lines import clock_time

    release, manifest = shown.release, shown.manifest
    say(safe(f"{release.id[:SHORT]} of {release.agent}: {state_words(release)}"))
    say(f"  id {release.id}")
    believed = f"not to be believed here: {shown.objection}" if shown.objection else "signed"
    say(safe(f"  {believed}; key {release.key}; drafted by {manifest.author} from {manifest.version}"))
    say(safe(f"  model {' then '.join(manifest.models) or 'of the code'}"))
    if manifest.tools:
        say(safe(f"  tools {', '.join(f'{part.name} ({part.effect})' for part in manifest.tools)}"))
    if manifest.policy:
        say(safe(f"  policy {', '.join(sorted(manifest.policy))}"))
    for name, text in manifest.prompts.items():
        say(safe(f"  prompt {name}: {plural(len(text.splitlines()), 'line')}"))
        for line in text.splitlines():
            say(safe(f"    {line}"))
    for step in shown.steps:
        share = f" {step.share / 100:g} %" if step.state == "canary" else ""
        why = f": {step.reason}" if step.reason else ""
        say(safe(f"  {clock_time(step.at)} {step.state.replace('_', ' ')}{share} by {step.actor}{why}"))
    if shown.problem:
        say(safe(f"  what was decided about {release.agent} does not count here: {shown.problem}"))
        say(f"  look at what is in use: penstock releases confirm {release.agent}")
    elif shown.keys:
        say(safe(f"  its steps are signed; key {', '.join(shown.keys)}"))
    for refusal in shown.refusals:
        say(safe(f"  not run by {refusal.worker}: {refusal.why}"))


def verify(
    release: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this one; default all.", show_default=False)
    ] = None,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Check that releases, and what was decided about them, are as signed by keys that are trusted here.

    Exits with 1 when something is not.
    """
    return execute(_verify(release, tenant, as_json))


async def _verify(text: str | None, tenant: str | None, as_json: bool) -> int:
    objections: dict[str, str] = {}
    problems: dict[str, str] = {}
    checked = 0
    async with releases_of(tenant) as (_, releases):
        if text is not None:
            shown = await releases.show(text)
            checked = 1
            if shown.objection:
                objections[shown.release.id] = shown.objection
            problems = {shown.release.agent: shown.problem}
        else:
            before: tuple[int, str] | None = None
            while page := await releases.page(None, before, PAGE):
                checked += len(page)
                objections |= {item.id: why for item in page if (why := releases.objection(item))}
                before = page[-1].drafted_at, page[-1].id
                for agent in {item.agent for item in page} - problems.keys():
                    problems[agent] = (await releases.ledger(agent)).problem
    problems = {agent: why for agent, why in sorted(problems.items()) if why}
    if as_json:
        print_json({"checked": checked, "bad": objections, "decisions": problems})
    else:
        for release, why in objections.items():
            say(safe(f"{release[:SHORT]}: {why}"))
        for agent, why in problems.items():
            say(safe(f"{agent}: what was decided does not count: {why}"))
            note(safe(f"see penstock releases confirm {agent}"))
        note(f"{plural(checked, 'release')} checked, {len(objections)} not to be believed")
    return ExitCode.FAILED if objections or problems else ExitCode.OK
