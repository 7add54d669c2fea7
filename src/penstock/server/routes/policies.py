"""The policy in force, and looking at another before it is."""

import asyncio
from typing import Annotated

from fastapi import APIRouter

from penstock.kernel.errors import InputTooLarge, PolicyInvalid, ProverMissing
from penstock.rules.policy.cases import run_cases
from penstock.rules.policy.comparing import compare
from penstock.rules.policy.conditions import Condition
from penstock.rules.policy.policy_set import PolicySet
from penstock.rules.policy.proving import Proof, analyse, newly
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.policies import (
    PolicyChange,
    PolicyChecked,
    PolicyFinding,
    PolicyProblem,
    PolicyReplay,
    PolicyRuleShown,
    PolicyShown,
    PolicyTests,
    PolicyTestShown,
    PolicyText,
)
from penstock.views.policy_replay import replay_policy

TEXT_MAX_BYTES = 1024 * 1024
TESTS_SHOWN = 500
PROVED_RULES_MAX = 200
"""The solver is asked about no more rules than that here: it takes milliseconds to seconds a rule."""
_DAY_US = 86_400_000_000

router = APIRouter(prefix="/v1/policies", tags=["policies"])

Reader = Annotated[Caller, needs("runs:read")]
ContentReader = Annotated[Caller, needs("payloads:read")]


@router.get("")
async def policies_get(server: Here, caller: Reader) -> PolicyShown:
    """The policy that this process holds calls to: rules, tests, and why a changed file is not in force.

    Rules about other tenants, and the tests, are shown to the tenant of the server's owner only.
    """
    guard = server.platform.services.policy
    if guard is None:
        return PolicyShown(version=None, source="", files=[], rules=[], tests=None, problem="")
    in_force = guard.for_run("", "", "")
    policy = _seen(server, caller, in_force)
    tests = await asyncio.to_thread(_tests, policy)
    is_owner = policy is in_force
    return PolicyShown(
        version=in_force.version,
        source=guard.source.place if is_owner else "",
        files=sorted(policy.sources),
        rules=[
            PolicyRuleShown(**rule.text.plain(), file=rule.text.place.file, line=rule.text.place.line)
            for rule in policy.rules
        ],
        tests=tests,
        problem="" if guard.problem is None else str(guard.problem) if is_owner else "its files cannot be read",
    )


@router.post("/check")
async def policies_check(server: Here, caller: ContentReader, body: PolicyText) -> PolicyChecked:
    """Look at a text: its mistakes, its tests, what it changes of the policy in force and of calls that were made."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in body.files.values())
    if size > TEXT_MAX_BYTES:
        raise InputTooLarge(f"the texts have {size:,} bytes; the bound is {TEXT_MAX_BYTES:,}")
    services = server.platform.services
    try:
        policy = await asyncio.to_thread(PolicySet.compile, body.files)
    except PolicyInvalid as error:
        problems = [PolicyProblem(**problem) for problem in error.fields.get("problems", [])]
        return _checked(problems=problems)
    guard = services.policy
    now = _seen(server, caller, guard.for_run("", "", "")) if guard is not None else None
    findings, calls, unproved = await asyncio.to_thread(_proved, policy, now, body.prove)
    replayed = None
    if body.replay_days:
        since = await services.journal.now() - int(body.replay_days * _DAY_US)
        found = await replay_policy(
            services.journal, services.reader, caller.tenant, policy, since=since, runs_max=body.replay_runs
        )
        replayed = PolicyReplay(**found.plain(content=False))
    return _checked(
        version=policy.version,
        tests=await asyncio.to_thread(_tests, policy),
        changes=[PolicyChange(**change.plain()) for change in compare(now, policy)] if now is not None else [],
        findings=findings,
        calls=calls,
        unproved=unproved,
        replay=replayed,
    )


def _checked(
    *,
    version: str | None = None,
    problems: list[PolicyProblem] | None = None,
    tests: PolicyTests | None = None,
    changes: list[PolicyChange] | None = None,
    findings: list[PolicyFinding] | None = None,
    calls: list[PolicyFinding] | None = None,
    unproved: str = "",
    replay: PolicyReplay | None = None,
) -> PolicyChecked:
    return PolicyChecked(
        version=version,
        problems=problems or [],
        tests=tests,
        changes=changes or [],
        findings=findings or [],
        calls=calls or [],
        unproved=unproved,
        replay=replay,
    )


def _seen(server: Server, caller: Caller, policy: PolicySet) -> PolicySet:
    """As much of a policy as concerns the caller's tenant; all of it for that of the server's owner."""
    if caller.tenant == server.platform.services.settings.tenant:
        return policy
    own = [rule.text for rule in policy.rules if not any(_excludes(one, caller.tenant) for one in rule.text.when)]
    return PolicySet(own, {})


def _excludes(condition: Condition, tenant: str) -> bool:
    return condition.key == "tenant" and condition.of(tenant) is False


def _tests(policy: PolicySet) -> PolicyTests:
    try:
        report = run_cases(policy)
    except PolicyInvalid as error:
        return PolicyTests(run=0, failed=0, items=[], untested=[], problem=error.what)
    items = [
        PolicyTestShown(
            name=one.case.name,
            file=one.case.place.file,
            line=one.case.place.line,
            passed=one.passed,
            words="" if one.passed else one.words(),
        )
        for one in sorted(report.results, key=lambda one: one.passed)[:TESTS_SHOWN]
    ]
    return PolicyTests(
        run=len(report.results), failed=len(report.failed), items=items, untested=report.untested, problem=""
    )


def _proved(
    policy: PolicySet, now: PolicySet | None, wanted: bool
) -> tuple[list[PolicyFinding], list[PolicyFinding], str]:
    if not wanted:
        return [], [], "not asked for"
    if len(policy.rules) > PROVED_RULES_MAX:
        return [], [], f"more than {PROVED_RULES_MAX} rules: `penstock policy check` proves them"
    try:
        findings = analyse(policy)
        calls = newly(now, policy) if now is not None and now.version != policy.version else []
    except ProverMissing as error:
        return [], [], f"{error.what}; {error.advice}"
    return [_finding(proof) for proof in findings], [_finding(proof) for proof in calls], ""


def _finding(proof: Proof) -> PolicyFinding:
    return PolicyFinding(**proof.plain())
