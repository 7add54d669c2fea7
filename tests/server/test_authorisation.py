"""Every route × every role, no key, a key that is wrong, expired or revoked, and another tenant's admin."""

import re

import httpx2 as httpx
import pytest
from fastapi.routing import iter_route_contexts
from tests.server.conftest import Api
from tests.server.permissions import ANYBODY, OPEN, ROLES, ROWS, Row

from penstock.server.access.roles import OF_THE_OWNER
from penstock.server.access.roles import ROLES as GIVEN
from penstock.server.app import demands_of

MISSING = "01890000-0000-7000-8000-00000000dead"


def address(path: str, values: dict[str, str] | None = None) -> str:
    """The path with its names filled in; those that are not given with something that there is not."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: (values or {}).get(match[1], MISSING), path)


async def asked(api: Api, route: str, key: str, values: dict[str, str] | None = None) -> httpx.Response:
    method, path = route.split(" ")
    body = ROWS[route].body
    sends = {"json": {} if body is None else body} if method in ("POST", "PUT", "PATCH") else {}
    return await api.ask(method, address(path, values), key, **sends)


async def test_every_route_has_a_row_that_says_what_it_demands(api: Api) -> None:
    """By construction: a new route fails here until it has one."""
    found = {}
    for route in iter_route_contexts(api.app.routes):
        demanded = demands_of(route)
        assert demanded is not None
        for method in (route.methods or set()) - {"HEAD"}:
            found[f"{method} {route.path}"] = next(iter(demanded), OPEN) or ANYBODY
            assert len(demanded) <= 1, "one permission a route; what depends on more is demanded inside"
    assert found == {route: row.needs for route, row in ROWS.items()}


def test_the_roles_give_what_is_written_down() -> None:
    assert {role: set(permissions) for role, permissions in GIVEN.items()} == ROLES


def allowed(row: Row, permissions: set[str]) -> bool:
    return row.needs in (OPEN, ANYBODY) or row.needs in permissions


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_it_may_and_nothing_else(api: Api, role: str) -> None:
    for route, row in ROWS.items():
        if allowed(row, ROLES[role]):
            if not row.streams and row.needs != OPEN:
                answer = await asked(api, route, role)
                assert answer.status_code not in (401, 403, 500), (route, answer.text)
        else:
            answer = await asked(api, route, role)
            assert answer.status_code == 403, (route, answer.text)
            assert answer.json()["code"] == "permission_missing"
            assert answer.json()["fields"] == {"permission": row.needs}


async def test_without_a_key_that_can_be_used_there_is_nothing(api: Api) -> None:
    expired = await api.make_key("admin", expires_seconds=-1.0)
    revoked = await api.make_key("admin")
    await api.journal.access.revoke_key("default", api.ids[revoked])
    wrong = api.keys["admin"][:-1] + ("A" if api.keys["admin"][-1] != "A" else "B")
    credentials = {"": "unauthenticated", expired: "key_expired", revoked: "key_revoked", wrong: "unauthenticated"}
    for route, row in ROWS.items():
        for key, code in credentials.items():
            if row.needs == OPEN:
                continue
            api.server.doorkeeper.failures.forget("10.1.1.1")
            answer = await asked(api, route, key)
            assert (answer.status_code, answer.json()["code"]) == (401, code), route
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_fewer_permissions_than_the_roles_give(api: Api) -> None:
    key = await api.make_key("admin", permissions=("audit:read",))
    for route, row in ROWS.items():
        if row.needs in (OPEN, ANYBODY) or row.streams:
            continue
        answer = await asked(api, route, key)
        assert (answer.status_code == 403) == (row.needs != "audit:read"), route


async def test_another_tenant_learns_nothing(api: Api) -> None:
    """What is another tenant's and what is not at all give the same answer, whatever the caller may do at home."""
    tried = 0
    for route, row in ROWS.items():
        if row.needs in OF_THE_OWNER:
            assert (await asked(api, route, "stranger")).status_code == 403, route
        if row.real is None:
            continue
        values = await row.real(api)
        theirs, nobodys = await asked(api, route, "stranger", values), await asked(api, route, "stranger")
        assert theirs.status_code == nobodys.status_code == (200 if row.makes else 404), (route, theirs.text)
        assert row.makes or without_ids(theirs, values) == without_ids(nobodys, values), route
        tried += 1
    assert tried


def without_ids(answer: httpx.Response, values: dict[str, str]) -> str:
    """An answer without what differs from one request to the next."""
    text = answer.text
    for value in values.values():
        text = text.replace(f"'{value}'", "'ID'")
    text = re.sub(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", "ID", text)
    return re.sub(r'"instance":"\w+"', "", text)


async def test_rows_with_ids_say_how_to_find_a_real_one() -> None:
    """Else the test above would pass them over."""
    without = [route for route, row in ROWS.items() if "{" in route and row.real is None and row.needs != OPEN]
    assert without == []
