"""Roles, and the permissions that each gives."""

from collections.abc import Iterable

from penstock.kernel.errors import RoleUnknown

PERMISSIONS: dict[str, str] = {
    "runs:read": "see runs, their traces without content, approvals, controls, agents and the overview",
    "costs:read": "see what was spent",
    "payloads:read": "see content: inputs, prompts, answers, arguments, results",
    "runs:submit": "submit runs",
    "runs:steer": "cancel, kill, pause, resume, retry, replay, release a run, send it events",
    "controls:stop": "stop and resume by scope",
    "everything:stop": "stop and resume everything of all tenants",
    "approvals:decide": "decide what waits for a person",
    "cache:clear": "drop cached answers",
    "budgets:set": "set, raise and lift budgets",
    "breakers:set": "set, trip, close and lift circuit breakers",
    "releases:manage": "draft releases, roll them out, roll them back",
    "releases:approve": "approve and reject releases, accept changed tools",
    "webhooks:manage": "see and change webhooks",
    "metrics:read": "read /metrics",
    "keys:manage": "see, make and revoke keys",
    "audit:read": "read the list of actions, the audit log's checkpoints and proofs, and who answers for a call",
    "audit:export": "export runs with their proofs; their content only together with payloads:read",
    "audit:witness": "hand in signatures of witnesses",
    "gateway:call": "call models through the gateway",
}
"""Every permission, and what it allows."""

OF_THE_OWNER = frozenset({"everything:stop", "metrics:read"})
"""What concerns all tenants: only keys of the tenant that the server's owner has (``PENSTOCK_TENANT``) can have it."""

_VIEWER = frozenset({"runs:read", "costs:read"})

ROLES: dict[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "operator": _VIEWER
    | {"runs:submit", "runs:steer", "controls:stop", "payloads:read", "metrics:read", "webhooks:manage", "cache:clear"}
    | {"budgets:set", "breakers:set", "releases:manage"},
    "approver": _VIEWER | {"payloads:read", "approvals:decide", "releases:approve"},
    "auditor": _VIEWER | {"audit:read", "audit:export"},
    "witness": frozenset({"audit:read", "audit:witness"}),
    "gateway": frozenset({"gateway:call"}),
    "admin": frozenset(PERMISSIONS),
}
"""Every role, and its permissions."""


def permissions_of(roles: Iterable[str], only: Iterable[str] | None = None) -> frozenset[str]:
    """What roles give together; of that ``only`` those, when given. A role that is not known any more gives nothing."""
    given = frozenset[str]().union(*(ROLES.get(role, frozenset()) for role in roles))
    return given if only is None else given & frozenset(only)


def check_roles(roles: Iterable[str], only: Iterable[str] | None = None) -> tuple[str, ...]:
    """The roles, each once, in the order of `ROLES`.

    Raises:
        RoleUnknown: there is no such role, or a permission is not among theirs, or nothing is left.
    """
    asked = set(roles)
    if unknown := sorted(asked - ROLES.keys()):
        raise RoleUnknown(f"there is no role {unknown[0]!r}", hint=f"the roles are {', '.join(ROLES)}")
    if not asked:
        raise RoleUnknown("no role was named", hint=f"the roles are {', '.join(ROLES)}")
    if foreign := sorted(set(only or ()) - permissions_of(asked)):
        raise RoleUnknown(f"{foreign[0]!r} is no permission of {', '.join(sorted(asked))}")
    if only is not None and not set(only):
        raise RoleUnknown("a key without any permission could do nothing", hint="leave permissions out for all of them")
    return tuple(role for role in ROLES if role in asked)
