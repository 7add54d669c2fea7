"""Who vouches for a release and for what was decided about it: Ed25519 (RFC 8032) over canonical forms.

A worker runs no release that a key it trusts has not signed, so that whoever can write to the database cannot change
what agents are told; nor one of which no such key has signed that it was approved and put in use
(`penstock.runs.rollouts.statements`), so that they cannot put in use what nobody approved.
"""

from pathlib import Path
from typing import Self

from penstock.journal.keyring import Keys, make_key_file, read_private, read_trusted
from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import ReleaseKeyInvalid, ReleaseKeyMissing
from penstock.ports.rollouts import Accepted, Release, SignedStatement
from penstock.runs.rollouts.manifest import address
from penstock.settings import Settings

CONTEXT = b"penstock release 1\n"
"""Before what is signed, so that a signature of something else by the same key is none of a release."""
DECISION = b"penstock release decision 1\n"
TOOL = b"penstock accepted tool 1\n"


class Keyring(Keys):
    """The key that signs releases and decisions about them here, if there is one, and those that are trusted here."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the settings name.

        Raises:
            ReleaseKeyInvalid: a file cannot be read, or holds no such key.
        """
        own, others = settings.release_key_file, settings.release_trusted_file
        return cls(
            read_private(own, ReleaseKeyInvalid) if own is not None else None,
            read_trusted(others, ReleaseKeyInvalid) if others is not None else (),
        )

    def sign(self, message: bytes, context: bytes = CONTEXT) -> tuple[str, bytes]:
        """The id of the key, and the signature of a manifest, or of something else in its own context.

        Raises:
            ReleaseKeyMissing: there is no key to sign with.
        """
        found = self.signed(context, message)
        if found is None:
            raise ReleaseKeyMissing(
                "releases, and decisions about them, cannot be signed here: there is no private key"
            )
        return found

    def objection(self, release: Release) -> str:
        """Why a release is not to be believed; "" = it is what was signed, by a key that is trusted here."""
        if address(release.manifest) != release.id:
            return "its content is not what its id says"
        return self.refusal(release.key, release.signature, CONTEXT, release.manifest)

    def objection_to(self, statement: SignedStatement) -> str:
        """Why a statement about an agent's releases is not to be believed; "" = a key that is trusted here made it."""
        return self.refusal(statement.key, statement.signature, DECISION, statement.body)

    def objection_to_tool(self, accepted: Accepted) -> str:
        """Why it is not to be believed that somebody accepted a changed tool; "" = it is."""
        return self.refusal(accepted.key, accepted.signature, TOOL, tool_form(accepted))


def tool_form(accepted: Accepted) -> bytes:
    """What is signed of an accepted tool: all of it, RFC 8785."""
    said = accepted.tenant, accepted.tool, accepted.digest, accepted.at, accepted.actor, accepted.reason
    return canonical_json(list(said))


def make_key(path: Path) -> tuple[str, str]:
    """Make a private key in a new file that only its owner may read; its id, and the public key in PEM.

    Raises:
        ReleaseKeyInvalid: the file is there already, or cannot be written.
    """
    return make_key_file(path, ReleaseKeyInvalid)
