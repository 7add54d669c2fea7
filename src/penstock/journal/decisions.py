"""People's decisions, signed by whoever records them: a decision that was only written into the store is none.

A statement binds a decision to all that it is about: the question, the call and its arguments, the policy, who decided,
by which right, what, and in which words (by a commitment under the subject's key, so that they can be erased).
"""

import base64
import binascii
from typing import Self

import msgspec

from penstock.events import Signed
from penstock.journal.keyring import Keys, read_private, read_trusted
from penstock.journal.payloads import address, ref_text
from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import DecisionKeyInvalid, DecisionKeyMissing, InputInvalid
from penstock.ports.questions import Voter
from penstock.settings import Settings

CONTEXT = b"penstock decision 1\n"
"""Before what is signed, so that a signature of something else by the same key is none of a decision."""


class DecisionStatement(msgspec.Struct, frozen=True):
    """What is signed of a decision; its form is RFC 8785.

    Attributes:
        path: of the call in its run.
        digest: of the arguments that were asked about; ``edited``: of those to call it with, "" = they were not edited.
        policy: the version under which it was asked.
        key, behalf, delegation: by which right, as in `penstock.ports.questions.Voter`.
        reason: commitment to the words, as events have it; "" = there are none.
        at: microseconds since the epoch, by the store's clock.
    """

    tenant: str
    run: str
    path: str
    approval: str
    question: str
    tool: str
    digest: str
    policy: str
    answer: str
    edited: str
    actor: str
    roles: list[str]
    key: str
    behalf: str
    delegation: str
    reason: str
    at: int


class DecisionKeys(Keys):
    """The key that signs decisions here, if there is one, and those whose decisions count here. Where none is trusted,
    decisions are not signed, and none has to be."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the settings name.

        Raises:
            DecisionKeyInvalid: a file cannot be read, or holds no such key.
        """
        own, others = settings.decision_key_file, settings.decision_trusted_file
        return cls(
            read_private(own, DecisionKeyInvalid) if own is not None else None,
            read_trusted(others, DecisionKeyInvalid) if others is not None else (),
        )

    def sign(self, said: DecisionStatement) -> Signed | None:
        """The signature of a decision; None = none is asked for.

        Raises:
            DecisionKeyMissing: decisions have to be signed, and there is no key here to do it with.
        """
        if not self.trusted:
            return None
        body = canonical_json(msgspec.to_builtins(said))
        found = self.signed(CONTEXT, body)
        if found is None:
            raise DecisionKeyMissing("a decision cannot be signed here, and does not count without")
        return Signed(found[0], base64.b64encode(found[1]).decode(), body.decode())

    def objection(self, signed: Signed | None, expected: DecisionStatement) -> str:
        """Why a decision does not count here; "" = a key that is trusted has signed just this, at any time."""
        if signed is None:
            return "it is not signed"
        body = signed.statement.encode()
        try:
            signature = base64.b64decode(signed.signature, validate=True)
            plain = msgspec.json.decode(body)
            said = msgspec.convert(plain, DecisionStatement)
            if canonical_json(plain) != body:
                return "what was signed is not in its canonical form"
        except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError, InputInvalid):
            return "what was signed cannot be read here"
        if why := self.refusal(signed.key, signature, CONTEXT, body):
            return why
        names = [name for name in said.__struct_fields__ if name != "at"]
        other = [name for name in names if getattr(said, name) != getattr(expected, name)]
        return f"another decision was signed: its {other[0]} is not this one's" if other else ""


def statement_of(voter: Voter, **said: str) -> DecisionStatement:
    """A decision as it is signed, but for the time. ``said``: the fields that are not of the voter."""
    return DecisionStatement(
        actor=voter.actor,
        roles=list(voter.roles),
        key=voter.key,
        behalf=voter.behalf,
        delegation=voter.delegation,
        at=0,
        **said,
    )


def words_commitment(subject_key: bytes, words: str) -> str:
    """How words are bound: the reference that an event has of them; "" of none."""
    return ref_text(address(subject_key, words.encode())) if words else ""


def said_of(signed: Signed | None) -> str:
    """The commitment to its words that a statement has; "" where there is none."""
    try:
        return msgspec.json.decode(signed.statement if signed is not None else "", type=DecisionStatement).reason
    except msgspec.MsgspecError:
        return ""
