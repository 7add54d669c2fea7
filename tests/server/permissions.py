"""What each route of the API demands: one row a route. A route without a row fails `test_authorisation`.

Add yours under its noun. ``OPEN``: everybody may ask. ``ANYBODY``: whoever is signed in. ``Row.body``: what is sent,
for routes that would not even look at whose thing it is with an empty one. ``Row.real``: how to find the id of
something of the tenant ``default``, so that another tenant's admin is seen to be told no more of it than of one that
there is not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.server.conftest import Api
from tests.server.desk import desk, echo, waiter

from penstock.events import BudgetRecord, decode
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.budgets import Budget
from penstock.ports.people import Delegation, Person
from penstock.ports.records import Stop
from penstock.ports.rollouts import Manifest, Release
from penstock.ports.webhooks import Endpoint
from penstock.runs.rollouts.manifest import address, encode

OPEN = "open"
ANYBODY = "anybody"


@dataclass(frozen=True)
class Row:
    """One route. ``streams``: its answer goes on, so only refusals are tried here."""

    needs: str
    body: dict[str, Any] | None = None
    streams: bool = False
    real: Callable[[Api], Awaitable[dict[str, str]]] | None = None
    """Gives a value for each name in the path."""
    makes: bool = False
    """What there is not is made: of the caller's own tenant."""


async def a_key(api: Api) -> dict[str, str]:
    """A key of its own, for it may be revoked."""
    return {"id": str(api.ids[await api.make_key("viewer")])}


async def a_run(api: Api) -> dict[str, str]:
    """A run that has ended."""
    run = await api.platform.submit(echo, {"said": "hello"})
    await api.platform.result(run, timeout_seconds=20)
    return {"id": str(run), "run": str(run), "other": str(run), "path": "1"}


async def a_payload(api: Api) -> dict[str, str]:
    """What an ended run was given."""
    run = UUID((await a_run(api))["run"])
    first = decode((await api.journal.tape("default", run, limit=1))[0].body)
    return {"run": str(run), "ref": first.payloads["input"][0]}


async def an_approval(api: Api) -> dict[str, str]:
    """A question of a run that was submitted by nobody who has a key."""
    run = await api.platform.submit(desk, "twice")
    async with asyncio.timeout(20):
        while not (found := [item for item in await api.platform.approvals() if item.run == run]):
            await asyncio.sleep(0.02)
    return {"id": found[0].id}


async def an_approvals_run(api: Api) -> dict[str, str]:
    """The run of such a question."""
    await an_approval(api)
    return {"run": str((await api.platform.approvals())[-1].run)}


async def a_person(api: Api) -> dict[str, str]:
    """Somebody who is known."""
    await api.journal.questions.people.put(Person("default", "key:ben", "ben"))
    return {"actor": "key:ben"}


async def a_delegation(api: Api) -> dict[str, str]:
    """A right that was handed on."""
    made = Delegation("default", new_id(SystemClock()), "key:ann", "key:ben", ("approver",))
    await api.journal.questions.people.delegate(made, 60)
    return {"id": str(made.id)}


async def a_control(api: Api) -> dict[str, str]:
    """A pause of a run."""
    run = await api.platform.submit(waiter, 1)
    sealed = await api.journal.stop_run("default", run, Stop.PAUSE, "ann", "")
    return {"id": str(sealed.control)}


async def a_session(api: Api) -> dict[str, str]:
    """One that a run was in."""
    await api.platform.result(await api.platform.submit(echo, 1, session="desk-7"), timeout_seconds=20)
    return {"session": "desk-7"}


async def a_webhook(api: Api) -> dict[str, str]:
    """An endpoint of its own, that has been told of a run, and can not be reached."""
    made = await api.journal.webhooks.add(
        Endpoint("default", new_id(SystemClock()), "https://127.0.0.1/", ("run.ended",), "", "", b"s" * 32, "tests"),
        500,
    )
    assert made is not None
    await a_run(api)
    [told] = await api.journal.webhooks.deliveries("default", made.id, None, None, 1)
    return {"id": str(made.id), "delivery": told.id}


async def a_budget(api: Api) -> dict[str, str]:
    """One of its own, which covers nothing that runs."""
    await api.journal.budgets.put(Budget("default", "quarter", {"agent": "nobody"}, nano=1), "ann")
    return {"name": "quarter"}


async def a_breaker(api: Api) -> dict[str, str]:
    """One of its own, which watches nothing that runs."""
    conditions = (Condition("failures", limit=5),)
    await api.journal.breakers.put(Breaker("default", "quiet", "agent", "nobody", conditions), "ann")
    return {"name": "quiet"}


async def a_release(api: Api) -> dict[str, str]:
    """A draft of its own, of an agent that nobody has."""
    manifest = encode(Manifest("nobody", "c", "o", {}, (), {}, (), {}, BudgetRecord(), "1", "ann"))
    made = Release("default", address(manifest), "nobody", manifest, b"s" * 64, "k", "ann")
    await api.journal.rollouts.add(made, "")
    return {"id": made.id}


AN_ENDPOINT = {"url": "https://hooks.example.com/", "topics": ["run.ended"]}
A_BREAKER = {"scope": "agent", "value": "nobody", "conditions": [{"kind": "failures"}]}
A_STOP = {"scope": {"kind": "run", "name": "01890000-0000-7000-8000-00000000dead"}, "action": "kill", "reason": "x"}

ROWS: dict[str, Row] = {
    "GET /healthz": Row(OPEN),
    "GET /readyz": Row(OPEN),
    "GET /metrics": Row("metrics:read"),
    "GET /v1/me": Row(ANYBODY),
    "GET /v1/sign-in": Row(OPEN),
    "POST /v1/sign-in": Row(OPEN),
    "POST /v1/sign-out": Row(ANYBODY),
    "GET /v1/sign-in/oidc": Row(OPEN),
    "GET /v1/sign-in/oidc/callback": Row(OPEN),
    "GET /v1/openapi.json": Row(ANYBODY),
    "GET /v1/problems/{code}": Row(OPEN),
    "GET /v1/keys": Row("keys:manage"),
    "POST /v1/keys": Row("keys:manage"),
    "DELETE /v1/keys/{id}": Row("keys:manage", real=a_key),
    "GET /v1/actions": Row("audit:read"),
    "GET /v1/audit": Row("audit:read"),
    "GET /v1/audit/checkpoint": Row("audit:read"),
    "GET /v1/audit/checkpoints": Row("audit:read"),
    "GET /v1/audit/inclusion": Row("audit:read"),
    "POST /v1/audit/consistency": Row("audit:read", {"checkpoint": "x"}),
    "GET /v1/audit/witness-request": Row("audit:read"),
    "POST /v1/audit/cosignatures": Row("audit:witness", {"signatures": "x"}),
    "GET /v1/audit/runs/{run}/accounts": Row("audit:read", real=a_run),
    "GET /v1/audit/export": Row("audit:export"),
    "GET /v1/overview": Row("runs:read"),
    "GET /v1/cache": Row("costs:read"),
    "DELETE /v1/cache": Row("cache:clear"),
    "GET /v1/budgets": Row("costs:read"),
    "POST /v1/budgets/preview": Row("costs:read", {"nano": 1}),
    "GET /v1/budgets/{name}": Row("costs:read", real=a_budget),
    "DELETE /v1/budgets/{name}": Row("budgets:set", real=a_budget),
    "GET /v1/budgets/{name}/accounts": Row("costs:read", real=a_budget),
    "PUT /v1/budgets/{name}": Row(
        "budgets:set", {"nano": 1}, real=a_budget, makes=True
    ),  # whoever asks has one of that name then
    "GET /v1/policies": Row("runs:read"),
    "POST /v1/policies/check": Row("payloads:read", {"files": {"a.yaml": "version: 1"}}),
    "GET /v1/breakers": Row("runs:read"),
    "GET /v1/breakers/{name}": Row("runs:read", real=a_breaker),
    "GET /v1/breakers/{name}/trips": Row("runs:read", real=a_breaker),
    "DELETE /v1/breakers/{name}": Row("breakers:set", real=a_breaker),
    "POST /v1/breakers/{name}/reset": Row("breakers:set", {}, real=a_breaker),
    "POST /v1/breakers/{name}/trip": Row("breakers:set", {}, real=a_breaker),
    "PUT /v1/breakers/{name}": Row("breakers:set", A_BREAKER, real=a_breaker, makes=True),
    "GET /v1/releases": Row("runs:read"),
    "POST /v1/releases": Row("releases:manage", {"agent": "nobody"}),
    "GET /v1/releases/compare": Row("costs:read"),
    "GET /v1/releases/confirm": Row("releases:approve"),
    "POST /v1/releases/confirm": Row("releases:approve", {"agent": "nobody", "releases": []}),
    "GET /v1/releases/offered": Row("releases:manage"),
    "POST /v1/releases/preview": Row("releases:manage", {"agent": "nobody"}),
    "POST /v1/releases/rollback": Row("releases:manage", {"agent": "nobody"}),
    "POST /v1/releases/tools": Row("releases:approve", {"tool": "a/b", "digest": f"sha256:{'0' * 64}"}),
    "GET /v1/releases/{id}": Row("runs:read", real=a_release),
    "GET /v1/releases/{id}/diff": Row("payloads:read", real=a_release),
    "POST /v1/releases/{id}/submit": Row("releases:manage", {}, real=a_release),
    "POST /v1/releases/{id}/approve": Row("releases:approve", {}, real=a_release),
    "POST /v1/releases/{id}/reject": Row("releases:approve", {}, real=a_release),
    "POST /v1/releases/{id}/canary": Row("releases:manage", {"percent": 5}, real=a_release),
    "POST /v1/releases/{id}/promote": Row("releases:manage", {}, real=a_release),
    "POST /v1/releases/{id}/retire": Row("releases:manage", {}, real=a_release),
    "GET /v1/costs": Row("costs:read"),
    "GET /v1/costs.csv": Row("costs:read"),
    "GET /v1/costs/export": Row("costs:read"),
    "GET /v1/costs/explain": Row("costs:read"),
    "GET /v1/costs/rerates": Row("costs:read"),
    "POST /v1/runs": Row("runs:submit", {"agent": "echo"}),
    "POST /v1/runs/batch": Row("runs:submit", {"runs": [{"agent": "echo"}]}),
    "GET /v1/runs": Row("runs:read"),
    "GET /v1/runs/facets": Row("runs:read"),
    "GET /v1/runs/{run}": Row("runs:read", real=a_run),
    "GET /v1/runs/{run}/events": Row("runs:read", real=a_run),
    "GET /v1/runs/{run}/result": Row("runs:read", real=a_run),
    "GET /v1/runs/{run}/report": Row("runs:read", real=a_run),
    "GET /v1/results": Row("runs:read"),
    "GET /v1/runs/{run}/payloads/{ref}": Row("payloads:read", real=a_payload),
    "POST /v1/runs/{run}/cancel": Row("runs:steer", {}, real=a_run),
    "POST /v1/runs/{run}/kill": Row("runs:steer", {}, real=a_run),
    "POST /v1/runs/{run}/pause": Row("runs:steer", {}, real=a_run),
    "POST /v1/runs/{run}/resume": Row("runs:steer", {}, real=a_run),
    "POST /v1/runs/{run}/retry": Row("runs:steer", real=a_run),
    "POST /v1/runs/{run}/release": Row("runs:steer", {}, real=a_run),
    "POST /v1/runs/{run}/replay": Row("runs:steer", real=a_run),
    "POST /v1/runs/{run}/events": Row("runs:steer", {"name": "go"}, real=a_run),
    "GET /v1/approvals": Row("runs:read"),
    "GET /v1/approvals/alike": Row("runs:read"),
    "GET /v1/approvals/{id}": Row("runs:read", real=an_approval),
    "POST /v1/approvals/{id}/decision": Row(
        "approvals:decide", {"decision": "deny", "digest": "d", "version": 1}, real=an_approval
    ),
    "POST /v1/approvals/batch": Row("approvals:decide", {"tool": "refund", "decision": "deny"}),
    "GET /v1/cases": Row("runs:read"),
    "POST /v1/cases/{run}/claim": Row("approvals:decide", {}, real=an_approvals_run),
    "POST /v1/cases/{run}/hand-back": Row("approvals:decide", {}, real=an_approvals_run),
    "POST /v1/cases/{run}/assign": Row("approvals:decide", {}, real=an_approvals_run),
    "GET /v1/people": Row("keys:manage"),
    "PUT /v1/people/{actor}": Row("keys:manage", {}, makes=True, real=a_person),
    "DELETE /v1/people/{actor}": Row("keys:manage", makes=True, real=a_person),
    "GET /v1/delegations": Row("approvals:decide"),
    "POST /v1/delegations": Row("approvals:decide", {"to": "key:ben", "seconds": 60}),
    "DELETE /v1/delegations/{id}": Row("approvals:decide", real=a_delegation),
    "POST /v1/controls/preview": Row("controls:stop", A_STOP),
    "POST /v1/controls": Row("controls:stop", A_STOP),
    "GET /v1/controls": Row("runs:read"),
    "GET /v1/controls/{id}": Row("runs:read", real=a_control),
    "GET /v1/agents": Row("runs:read"),
    "GET /v1/tools": Row("runs:read"),
    "GET /v1/sessions/{session:path}": Row("runs:read", real=a_session),
    "GET /v1/runs/{run}/trace": Row("runs:read", real=a_run),
    "GET /v1/runs/{run}/spans/{path}": Row("runs:read", real=a_run),
    "GET /v1/runs/{run}/diff/{other}": Row("runs:read", real=a_run),
    "GET /v1/webhooks": Row("webhooks:manage"),
    "POST /v1/webhooks": Row("webhooks:manage", AN_ENDPOINT),
    "GET /v1/webhooks/{id}": Row("webhooks:manage", real=a_webhook),
    "PATCH /v1/webhooks/{id}": Row("webhooks:manage", {"state": "paused"}, real=a_webhook),
    "DELETE /v1/webhooks/{id}": Row("webhooks:manage", real=a_webhook),
    "POST /v1/webhooks/{id}/rotate": Row("webhooks:manage", real=a_webhook),
    "GET /v1/webhooks/{id}/deliveries": Row("webhooks:manage", real=a_webhook),
    "POST /v1/webhooks/{id}/deliveries/replay": Row("webhooks:manage", real=a_webhook),
    "POST /v1/webhooks/{id}/deliveries/{delivery}/replay": Row("webhooks:manage", real=a_webhook),
    "GET /v1/stream": Row("runs:read", streams=True),
    "GET /v1/runs/{run}/stream": Row("runs:read", streams=True, real=a_run),
}

ROLES: dict[str, set[str]] = {
    "viewer": {"runs:read", "costs:read"},
    "operator": {
        "runs:read",
        "costs:read",
        "runs:submit",
        "runs:steer",
        "controls:stop",
        "payloads:read",
        "metrics:read",
        "webhooks:manage",
        "cache:clear",
        "budgets:set",
        "breakers:set",
        "releases:manage",
    },
    "approver": {"runs:read", "costs:read", "payloads:read", "approvals:decide", "releases:approve"},
    "auditor": {"runs:read", "costs:read", "audit:read", "audit:export"},
    "witness": {"audit:read", "audit:witness"},
    "gateway": {"gateway:call"},
    "admin": {
        "audit:export",
        "audit:witness",
        "gateway:call",
        "runs:read",
        "costs:read",
        "runs:submit",
        "runs:steer",
        "controls:stop",
        "payloads:read",
        "metrics:read",
        "webhooks:manage",
        "cache:clear",
        "budgets:set",
        "breakers:set",
        "releases:manage",
        "approvals:decide",
        "releases:approve",
        "keys:manage",
        "audit:read",
        "everything:stop",
    },
}
"""What each role may do, written down here again: a change of `penstock.server.access.roles` must be meant."""
