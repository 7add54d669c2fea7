"""Errors of approving and of taking cases over: who may, and whose it is."""

from penstock.kernel.errors.usage import UsageError


class ApproverUnfit(UsageError):
    """Who decides may not decide this: their key has ended, or they do not hold a role that the policy asks for."""

    code = "approver_unfit"
    hint = "somebody who holds the role has to decide; see `penstock approvals show` for who that is"


class ApprovalTwice(UsageError):
    """The question needs several people, and this one has allowed it already, by this key or another."""

    code = "approval_twice"
    hint = "somebody else has to allow it too; see `penstock approvals people` for which actors count as one person"


class CaseHeld(UsageError):
    """Somebody has taken the case into their hands; ``fields["holder"]`` is who, ``fields["until"]`` until when."""

    code = "case_held"
    hint = "wait until they hand it back, or the claim ends; an admin may take it over"


class CaseUnknown(UsageError):
    """There is nothing in the run that waits for a person, or the caller does not hold it."""

    code = "case_unknown"
    hint = "see `penstock approvals cases`"


class DelegationInvalid(UsageError):
    """The right to decide cannot be handed on like this."""

    code = "delegation_invalid"
    hint = "hand your own right to somebody else, for at most 90 days"


class DelegationUnknown(UsageError):
    """There is no such delegation, or it is over."""

    code = "delegation_unknown"
    hint = "see `penstock approvals delegations`"


class DecisionKeyMissing(UsageError):
    """Decisions have to be signed, and this process has no key to sign them with."""

    code = "decision_key_missing"
    hint = "set PENSTOCK_DECISION_KEY_FILE here, or decide through a server that has the key"


class DecisionKeyInvalid(UsageError):
    """A file of keys for decisions cannot be read, or holds no Ed25519 key in PEM."""

    code = "decision_key_invalid"
    hint = "keys are in PEM: a private one in PKCS 8, public ones as they are printed by penstock approvals keygen"
