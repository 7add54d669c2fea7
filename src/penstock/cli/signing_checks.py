"""What ``penstock doctor`` says of signatures: of decisions about releases, and of people's decisions."""

from typing import TYPE_CHECKING, NamedTuple

from penstock.cli.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.ports.journal import Journal
    from penstock.runs.rollouts.signing import Keyring
    from penstock.settings import Settings

SHOWN = 3
QUESTIONS_READ = 500


class Found(NamedTuple):
    """One line of the doctor's."""

    name: str
    state: str
    words: str
    advice: str = ""


async def check_signatures(dsn: str, settings: "Settings") -> list[Found]:
    """Whether all that was decided is signed, where it has to be; nothing where no key is configured."""
    from penstock.adapters.postgres.database import ConnectionSettings
    from penstock.adapters.postgres.journal import open_journal
    from penstock.journal.decisions import DecisionKeys
    from penstock.kernel.errors import PenstockError
    from penstock.runs.rollouts.signing import Keyring

    try:
        releases, decisions = Keyring.of(settings), DecisionKeys.of(settings)
    except PenstockError as error:
        return [Found("signatures", "fail", f"{error.what} [{error.code}]", error.advice)]
    found = [_readable(path) for path in (settings.release_key_file, settings.decision_key_file) if path is not None]
    found = [line for line in found if line.words]
    if not releases.trusted and not decisions.trusted:
        return found
    try:
        journal = await open_journal(ConnectionSettings.of(settings, dsn), prepare=False)
    except PenstockError:  # said where the schema is looked at
        return found
    try:
        if releases.trusted:
            found.append(await _releases(journal, releases))
        if decisions.trusted:
            found.append(await _decisions(journal, settings))
    finally:
        await journal.close()
    return found


async def _releases(journal: "Journal", keyring: "Keyring") -> Found:
    from penstock.runs.rollouts.statements import Ledger

    view = await journal.rollouts.view()
    problems = []
    for route in view.routes:
        ledger = Ledger(journal.rollouts, keyring, route.tenant, route.agent)
        await ledger.follow(route, view.heads.get((route.tenant, route.agent), 0))
        if ledger.problem:
            problems.append(f"{route.agent} of {route.tenant}: {ledger.problem}")
    if not problems:
        return Found("releases", "ok", f"what was decided about {plural(len(view.routes), 'agent')} is signed")
    words = f"what was decided does not count: {'; '.join(problems[:SHOWN])}"
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return Found("releases", "fail", words + more, "see penstock releases confirm AGENT")


async def _decisions(journal: "Journal", settings: "Settings") -> Found:
    from penstock.journal.payloads import PayloadReader
    from penstock.runs.approvals import pending

    waiting = await pending(journal, PayloadReader(journal), settings.tenant, QUESTIONS_READ)
    again = [f"{item.id[:12]}: {item.again}" for item in waiting if item.again]
    if not again:
        signs = "signed here" if settings.decision_key_file is not None else "signed elsewhere"
        return Found("decisions", "ok", f"{signs}; one without a signature does not count")
    words = f"{plural(len(again), 'question')} asked anew, for what was delivered is no decision: "
    return Found("decisions", "fail", words + "; ".join(again[:SHOWN]), "find out who writes to the database")


def _readable(path: "Path") -> Found:
    if path.stat().st_mode & 0o077:
        return Found("signatures", "warn", f"others than its owner may read {path}", f"chmod 600 {path}")
    return Found("signatures", "ok", "")
