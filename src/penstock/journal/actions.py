"""What an action says, and whether a tenant's list of actions is the one that was recorded."""

from collections.abc import Iterable
from typing import Any

import msgspec

from penstock.kernel.errors import ChainBroken
from penstock.ports.actions import Action, first_link, link_action


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an action's stored bytes say. Fields are only ever added, with defaults."""

    actor: str
    action: str
    target: str = ""
    detail: dict[str, Any] = {}
    request: str = ""  # id of the request, as in the server's log


_said = msgspec.json.Decoder(Said)
_encoder = msgspec.json.Encoder(order="sorted")


def encode_said(said: Said) -> bytes:
    """The stored bytes."""
    return _encoder.encode(said)


def decode_said(body: bytes) -> Said:
    """What stored bytes say.

    Raises:
        msgspec.DecodeError: they are none of ours.
    """
    return _said.decode(body)


class ActionChain:
    """Follows a tenant's actions from the first one and says when one does not fit."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.seq = 0
        self.hash = first_link(tenant)

    def follow(self, actions: Iterable[Action]) -> None:
        """Check the next ones.

        Raises:
            ChainBroken: one is missing, out of order or changed; ``fields["seq"]`` says which.
        """
        for action in actions:
            if action.seq != self.seq + 1:
                raise self._broken(self.seq + 1, "missing", f"the next one found is action {action.seq}")
            if link_action(self.hash, action.seq, action.at, action.body) != action.hash:
                raise self._broken(action.seq, "changed", "it, or the one before it, is not what was recorded")
            self.seq, self.hash = action.seq, action.hash

    def finish(self, seq: int, digest: bytes) -> None:
        """Check the end against the head that is kept beside the list.

        Raises:
            ChainBroken: actions were cut off, or all of them or the head were replaced.
        """
        if self.seq < seq:
            raise self._broken(self.seq + 1, "truncated", f"there were {seq}")
        if (self.seq, self.hash) != (seq, digest):
            raise self._broken(self.seq, "head", "it does not lead to the head that is kept beside the list")

    def _broken(self, seq: int, problem: str, words: str) -> ChainBroken:
        state = "missing" if problem in ("missing", "truncated") else "not what was recorded"
        return ChainBroken(f"action {seq} of tenant {self.tenant!r} is {state}: {words}", seq=seq, problem=problem)
