"""What every request passes, whatever it asks for: bounds, problems, time-outs, the log, the console's files."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from tests.server.conftest import Api, served

from penstock.adapters.memory import MemoryJournal
from penstock.kernel import errors
from penstock.kernel.errors import JournalUnavailable, PenstockError, QueueFull, ServerError
from penstock.server import app as server_app
from penstock.server import limits
from penstock.server.access.caller import open_to_all
from penstock.server.console_build import build_console
from penstock.server.console_files import ConsoleFiles
from penstock.server.problems import STATUS, described, status_of


async def test_who_asks_is_in_the_log_and_content_is_not(api: Api) -> None:
    answer = await api.get("/v1/actions?actor=secret-words", "admin")
    assert answer.status_code == 200
    line = api.log[-1]
    assert line["actor"] == "key:default-admin"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/actions", 200)
    assert line["request"] == answer.headers["x-request-id"]
    assert line["bytes"] == len(answer.content)
    assert "secret-words" not in json.dumps(api.log)
    assert api.keys["admin"] not in json.dumps(api.log)


async def test_a_stranger_learns_only_that_a_key_is_needed(api: Api) -> None:
    for path in ("/v1/me", "/v1/none", "/v1/"):
        answer = await api.get(path, "")
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthenticated"
        assert answer.json()["instance"] == answer.headers["x-request-id"] == api.log[-1]["request"]
    huge = await api.post("/v1/keys", "", content=b"[" * 100_000)
    assert huge.status_code == 401, "nothing of a stranger's body is parsed"
    assert (await api.get("/healthz", "")).status_code == 200
    assert (await api.get("/readyz", "")).json() == {"ready": True, "checks": {"journal": "ok", "server": "ok"}}


async def test_it_is_not_ready_while_the_journal_is_away_or_it_stops(api: Api) -> None:
    async def away() -> int:
        raise JournalUnavailable("no")

    now, api.journal.now = api.journal.now, away  # type: ignore[method-assign]
    answer = await api.get("/readyz", "")
    assert (answer.status_code, answer.json()["checks"]["journal"]) == (503, "journal_unavailable")
    api.journal.now = now  # type: ignore[method-assign]
    api.server.stopping.set()
    assert (await api.get("/readyz", "")).status_code == 503
    assert (await api.get("/healthz", "")).status_code == 200
    answer = await api.get("/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (503, "server_busy")
    assert "retry-after" in answer.headers


async def test_what_a_database_says_of_itself_is_not_passed_on(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    async def away(*_: object) -> None:
        raise JournalUnavailable("the database cannot be reached: 10.0.0.5 port 5432")

    api.journal.access.list_keys = away  # type: ignore[method-assign,assignment]
    answer = await api.get("/v1/keys", "admin")
    assert (answer.status_code, answer.json()["code"]) == (503, "journal_unavailable")
    assert answer.json()["title"] == "The database cannot be reached"
    assert "retry-after" in answer.headers
    assert "10.0.0.5" not in answer.text
    assert "10.0.0.5" in caplog.text


async def test_a_nul_is_refused_wherever_it_stands(api: Api) -> None:
    for path in ("/v1/actions?actor=a%00b", "/v1/sessions/a%00b", "/v1/problems/%00"):
        answer = await api.get(path, "admin")
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), path


async def test_what_there_is_not(api: Api) -> None:
    answer = await api.get("/v1/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "route_unknown")
    answer = await api.post("/v1/none", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "route_unknown")
    answer = await api.post("/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_unknown")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("content", "media", "status", "code"),
    [
        (b"{", "application/json", 422, "request_invalid"),
        (b"", "application/json", 422, "request_invalid"),
        (b"\xff\xfe", "application/json", 422, "request_invalid"),
        (b'{"name": "x", "roles": ["viewer"]}', "text/plain", 415, "media_type_unknown"),
        (b'{"name": "x", "roles": ["viewer"]}', "", 415, "media_type_unknown"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "media_type_unknown"),
        (b'{"name": "x", "roles": ["viewer"], "rolls": 1}', "application/json", 422, "request_invalid"),
        (b'{"name": "\\ud800", "roles": ["viewer"]}', "application/json", 422, "request_invalid"),
        (b'{"name": 7, "roles": ["viewer"]}', "application/json", 422, "request_invalid"),
        (b"[" * 200_000, "application/json", 422, "request_invalid"),
        (b'{"name": "secret-value"}', "application/json", 422, "request_invalid"),
    ],
)
async def test_a_body_that_is_not_what_it_should_be(
    api: Api, content: bytes, media: str, status: int, code: str
) -> None:
    headers = {"Content-Type": media} if media else {}
    answer = await api.post("/v1/keys", "admin", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "secret-value" not in answer.text
    assert len(answer.content) < 4_000


async def test_an_invalid_request_says_where(api: Api) -> None:
    answer = await api.post("/v1/keys", "admin", json={"roles": ["viewer"], "nmae": "x"})
    places = {item["at"] for item in answer.json()["fields"]["errors"]}
    assert places == {"body.name", "body.nmae"}
    answer = await api.get("/v1/keys?limit=501", "admin")
    assert answer.status_code == 422
    assert answer.json()["fields"]["errors"][0]["at"] == "query.limit"


async def test_bounds_of_a_request(api: Api) -> None:
    async with served(MemoryJournal(), worker=False, http_body_max_bytes=2_000) as small:
        answer = await small.post("/v1/keys", "admin", content=b"x" * 2_001)
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")

        async def unannounced() -> Any:
            for _ in range(100):
                yield b"x" * 100

        answer = await small.post(
            "/v1/keys", "admin", content=unannounced(), headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    answer = await api.get("/v1/me?" + "x" * limits.TARGET_MAX_BYTES)
    assert (answer.status_code, answer.json()["code"]) == (414, "request_too_large")
    answer = await api.get("/v1/me", headers={"X-Much": "x" * limits.HEADERS_MAX_BYTES})
    assert (answer.status_code, answer.json()["code"]) == (431, "request_too_large")


def add_route(api: Api, path: str, endpoint: Any) -> None:
    router = APIRouter(dependencies=[open_to_all])
    router.get(path)(endpoint)
    api.app.include_router(router)


async def test_an_answer_that_takes_too_long(api: Api) -> None:
    async with served(MemoryJournal(), worker=False, http_request_seconds=1.0) as quick:
        ended = asyncio.Event()

        async def hangs() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set()

        add_route(quick, "/hangs", hangs)
        answer = await quick.get("/hangs", "")
        assert (answer.status_code, answer.json()["code"]) == (504, "request_timed_out")
        assert ended.is_set()
        assert quick.server.seats.taken == 0


async def test_as_many_at_a_time_as_is_set(api: Api) -> None:
    async with served(MemoryJournal(), worker=False, http_concurrency=2) as small:
        go, here = asyncio.Event(), asyncio.Semaphore(0)

        async def waits() -> None:
            here.release()
            await go.wait()

        add_route(small, "/waits", waits)
        waiting = [asyncio.create_task(small.get("/waits", "")) for _ in range(2)]
        for _ in waiting:
            await here.acquire()
        answer = await small.get("/v1/me")
        assert (answer.status_code, answer.json()["code"]) == (503, "server_busy")
        assert answer.headers["retry-after"] == "1"
        go.set()
        assert [(await request).status_code for request in waiting] == [200, 200]
        assert (await small.get("/v1/me")).status_code == 200
        assert small.server.seats.taken == 0


async def test_a_bug_is_an_answer_without_its_insides(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise RuntimeError("the password is hunter2")

    add_route(api, "/fails", fails)
    answer = await api.get("/fails", "")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["instance"] in caplog.text
    assert "hunter2" in caplog.text


def test_every_error_has_a_status_that_is_meant() -> None:
    kinds = set(described().values())
    assert kinds >= {getattr(errors, name) for name in errors.__all__} - {PenstockError}
    assert set(STATUS) <= kinds
    inside = (errors.RunFault, errors.Escalation, errors.Reject, errors.Revise)  # never leave the engine
    for kind in kinds - {PenstockError, *inside}:
        nearest = next(known for known in kind.__mro__ if known in STATUS)
        assert nearest is not PenstockError, f"{kind.__name__} would be answered with 500: problems.STATUS has no line"
    full = QueueFull("full", retry_after_seconds=7.4)
    assert status_of(full) == 429


async def test_the_code_of_a_problem_is_explained_where_its_type_says(api: Api) -> None:
    problem = (await api.get("/v1/none")).json()
    explained = await api.get(problem["type"], "")
    assert explained.json()["code"] == "route_unknown"
    assert (await api.get("/v1/problems/none", "")).status_code == 404


async def test_a_route_that_does_not_say_who_may_ask_is_not_served(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()
    router.get("/v1/hidden")(lambda: None)
    monkeypatch.setattr("penstock.server.routes.health.router", router)
    with pytest.raises(ServerError, match="/v1/hidden"):
        server_app.create_app(api.platform)


async def test_the_description_is_whole(api: Api) -> None:
    described = (await api.get("/v1/openapi.json", "viewer")).json()
    assert described["openapi"].startswith("3.1")
    shown = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    routes = {
        f"{method} {str(route.path).replace(':path}', '}')}"
        for route in iter_route_contexts(api.app.routes)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes - shown == {"GET /v1/openapi.json"}
    ids = [operation["operationId"] for item in described["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    for item in described["paths"].values():
        for operation in item.values():
            assert operation["responses"]["default"]["content"]["application/problem+json"]
            assert "security" in operation


async def test_below_a_path_whether_or_not_the_proxy_takes_it_off(api: Api) -> None:
    async with served(MemoryJournal(), worker=False, root_path="/penstock") as below:
        for before in ("", "/penstock"):
            assert (await below.get(f"{before}/v1/me")).status_code == 200
            stranger = await below.get(f"{before}/v1/none", "")
            assert (stranger.status_code, stranger.json()["type"]) == (401, "/penstock/v1/problems/unauthenticated")
            assert (await below.get(f"{before}/v1/none")).status_code == 404
            assert (await below.get(f"{before}/healthz", "")).status_code == 200
            assert below.log[-1]["route"] == "/healthz"


async def test_metrics(api: Api) -> None:
    await api.get("/v1/me")
    await api.get("/v1/none/" + "x" * 50)
    text = (await api.get("/metrics")).text
    assert 'penstock_http_requests_total{method="GET",route="/v1/me",status="200"} 1.0' in text
    assert 'route="none",status="404"' in text
    assert "xxxx" not in text
    assert "penstock_journal_up 1.0" in text
    assert (await api.get("/metrics", "viewer")).status_code == 403
    assert (await api.get("/metrics", "")).status_code == 401
    async with served(MemoryJournal(), worker=False, metrics_open=1) as opened:
        assert (await opened.get("/metrics", "")).status_code == 200


async def test_metrics_count_runs_and_appends(api: Api) -> None:
    from tests.server.desk import broken, echo, waiter

    for agent in (echo, broken):
        await api.platform.result(await api.platform.submit(agent, 1), timeout_seconds=20)
    await api.platform.submit(waiter, 1)
    async with asyncio.timeout(20):
        while 'penstock_runs{status="parked"} 1.0' not in (text := (await api.get("/metrics")).text):
            api.server.gauges.kept_seconds = 0
            await asyncio.sleep(0.02)
    assert 'penstock_runs_ended_total{outcome="succeeded"} 1.0' in text
    assert 'penstock_runs_ended_total{outcome="failed"} 1.0' in text
    assert float(text.partition("\npenstock_events_total ")[2].split("\n")[0]) >= 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main-3f2a.js").write_text("let x = 1;\n" * 500)
    (tmp_path / "index.html").write_text('<html><head><meta name="style-nonce" content="__CSP_NONCE__"></head></html>')
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path.parent / "outside.txt").write_text("not yours")
    return tmp_path


async def test_the_consoles_files(api: Api, folder: Path) -> None:
    api.server.console.folder = folder
    pages = [await api.get(path, "") for path in ("/", "/runs", "/runs/7f3a?span=1", "/index.html")]
    nonces = set()
    for page in pages:
        assert page.status_code == 200
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert f'content="{nonce}"' in page.text
        nonces.add(nonce)
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert len(nonces) == 4
    script = await api.get("/assets/main-3f2a.js", "", headers={"Accept-Encoding": "gzip"})
    assert script.headers["content-encoding"] == "gzip"
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert script.text.startswith("let x")
    plain = await api.get("/assets/main-3f2a.js", "", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == script.text
    icon = await api.get("/favicon.svg", "")
    assert icon.headers["cache-control"] == "no-cache"
    again = await api.get("/favicon.svg", "", headers={"If-None-Match": icon.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/assets/none.js", "/../outside.txt", "/%2e%2e/outside.txt", "/assets/..%2f..%2foutside.txt", "//etc/x.txt"],
)
async def test_no_other_file_is_served(api: Api, folder: Path, path: str) -> None:
    api.server.console.folder = folder
    answer = await api.get(path, "")
    assert "not yours" not in answer.text
    assert answer.status_code == 404


async def test_without_a_console_it_says_so_and_takes_it_when_it_is_built(api: Api, tmp_path: Path) -> None:
    api.server.console.folder = tmp_path / "console"
    answer = await api.get("/", "")
    assert answer.status_code == 503
    assert "not built" in answer.text
    assert (await api.post("/", "", json={})).status_code == 404
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "index.html").write_text("<head></head>built")
    assert "built" in (await api.get("/", "")).text


async def test_the_console_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, bin_, out = tmp_path / "console", tmp_path / "bin", tmp_path / "out"
    source.mkdir()
    bin_.mkdir()
    (source / "package.json").write_text("{}")
    npm = bin_ / "npm"
    build = f"/bin/mkdir -p {out} && echo '<head>' > {out}/index.html"
    npm.write_text(f'#!/bin/sh\necho "npm $*"; [ "$1" = run ] && {build}; exit 0\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_))
    said: list[str] = []
    files = ConsoleFiles(out)
    assert await build_console(files, said.append, source)
    assert [line.partition("npm ")[2].split()[0] for line in said if "npm" in line] == ["ci", "run"]
    assert await build_console(files, said.append, source)
    assert len(said) == 3
    npm.write_text("#!/bin/sh\necho the cause; exit 3\n")
    broken = ConsoleFiles(tmp_path / "other")
    assert not await build_console(broken, said.append, source)
    assert "the cause" in said
    assert "exit code 3" in said[-1]
    npm.unlink()
    assert not await build_console(broken, said.append, source)
    assert "install Node.js" in said[-1]
