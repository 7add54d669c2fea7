"""What managed releases refuse."""

from penstock.kernel.errors.usage import UsageError


class ReleaseUnknown(UsageError):
    """There is no such release, or the beginning of an id is of several."""

    code = "release_unknown"
    hint = "see `penstock releases ls`"


class ReleaseInvalid(UsageError):
    """A release, or what it is to be drafted from, cannot be: too large, not readable, not of this agent, no change."""

    code = "release_invalid"


class ReleaseState(UsageError):
    """A release cannot take that step from where it stands."""

    code = "release_state"
    hint = "`penstock releases show ID` says where it stands, docs/how-to/releases.md what may follow"


class ReleaseMoved(UsageError):
    """Somebody else decided about this agent's releases at the same time; nothing was changed."""

    code = "release_moved"
    hint = "look at how they stand now, and decide again"


class ReleaseOwn(UsageError):
    """A release is approved by another person than the one who drafted it, or put it up for review."""

    code = "release_own"
    hint = "ask somebody else who has the permission releases:approve"


class ReleaseKeyMissing(UsageError):
    """There is no key to sign releases with, or none to check their signatures by."""

    code = "release_key_missing"
    hint = "make one: penstock releases keygen FILE; then set PENSTOCK_RELEASE_KEY_FILE to it"


class ReleaseKeyInvalid(UsageError):
    """A file of keys cannot be read, or holds no Ed25519 key in PEM."""

    code = "release_key_invalid"
    hint = "keys are in PEM: a private one in PKCS 8, public ones as they are printed by penstock releases keygen"


class ReleaseUnsigned(UsageError):
    """What was decided about an agent's releases is not signed, or not by a key that is trusted here, or was changed
    since; so nothing is decided upon it."""

    code = "release_unsigned"
    hint = "look at what is in use, and say what of it is approved: penstock releases confirm AGENT"
