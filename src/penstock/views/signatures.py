"""What signatures say, for who reads: by which key, and when. Whether a key is to be trusted is for others to say."""

import msgspec

from penstock.events import ApprovalDecided, ApprovalEdited, ApprovalVoted
from penstock.ports.journal import Journal

STATEMENTS_MAX = 1000


class _SignedAt(msgspec.Struct):
    """Of `penstock.journal.decisions.DecisionStatement`, what is read here."""

    at: int


def decided_at(event: ApprovalVoted | ApprovalEdited | ApprovalDecided) -> int:
    """When somebody decided; where it is not signed, when the run was told."""
    try:
        return msgspec.json.decode(event.signed.statement if event.signed is not None else "", type=_SignedAt).at
    except msgspec.MsgspecError:
        return event.at


class _Taken(msgspec.Struct):
    release: str
    state: str


class _Statement(msgspec.Struct):
    """Of `penstock.runs.rollouts.statements.Statement`, what is read here."""

    actor: str
    moves: list[_Taken]


async def steps_signed(journal: Journal, tenant: str, agent: str) -> dict[tuple[str, str, str], str]:
    """By which key it was signed that somebody took a step: by release, state and actor. Whether the key is one to be
    trusted, `penstock releases verify` says."""
    found: dict[tuple[str, str, str], str] = {}
    for item in await journal.rollouts.statements(tenant, agent, 0, STATEMENTS_MAX):
        try:
            said = msgspec.json.decode(item.body, type=_Statement)
        except msgspec.DecodeError:
            continue
        found |= {(move.release, move.state, said.actor): item.key for move in said.moves}
    return found
