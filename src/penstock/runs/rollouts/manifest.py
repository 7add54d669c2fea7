"""What a release is: drafted from an agent as it is offered, and the other way round, an agent as a release has it.

The code stays in the module that workers load. A release changes the data beside it: the texts of prompts, models and
their settings, the budget, the filters, the policy. So one worker runs the live release, the canary and older ones side
by side; what a release cannot change is in its ``code``, and a worker that offers other code does not run it.
"""

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.agents.agent import LOOP_VERSION, Agent, AgentTool
from penstock.agents.caching import release_part
from penstock.agents.definition import Definition
from penstock.agents.tool import Tool
from penstock.events import BudgetRecord
from penstock.kernel.canonical import canonical_digest, canonical_json, digest
from penstock.kernel.errors import FiltersInvalid, InputInvalid, PenstockError, PolicyInvalid, ReleaseInvalid
from penstock.ports.agents import AgentDef
from penstock.ports.model import Model, ModelSettings, ToolSpec
from penstock.ports.rollouts import MANIFEST_MAX_BYTES, Manifest, ToolPart
from penstock.rules.filters.filters import Classified
from penstock.rules.filters.plain import filters_of, plain_of, settled
from penstock.rules.policy.policy_set import PolicySet
from penstock.rules.spirals import DEFAULT

FORM = 1
"""Of manifests. A worker that does not know a form does not run it."""
INSTRUCTIONS = "instructions"
MODELS_MAX, TEXT_MAX_CHARS = 10, 200
_NUMBERS: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 10_000_000),
    "timeout_seconds": (0.1, 86_400),
    "attempts": (1, 100),
    "repairs": (0, 100),
}


def code_of(agent: AgentDef) -> str:
    """Digest of all of an agent that a release cannot change."""
    if not isinstance(agent, Agent):
        return digest(["code", agent.release])
    first, spirals = agent.responder, agent.spirals
    return digest(
        [
            "agent",
            LOOP_VERSION,
            [[part.name, part.schema, part.digest] for part in tools_of(agent)],
            agent.tools_digest,
            agent.output_schema(),
            agent.can_escalate,
            agent.stages.parts,
            agent.memory.part if agent.memory is not None else "",
            [code_of(first.agent), first.seconds] if first is not None else [],
            release_part(agent.cache) if agent.cache is not None else "",
            "" if spirals == DEFAULT else spirals.part if spirals is not None else "off",
        ]
    )


def tools_of(agent: AgentDef) -> tuple[ToolPart, ...]:
    """An agent's tools by name."""
    if not isinstance(agent, Agent):
        return ()
    parts = [_tool_part(tool) for tool in agent.tools.values()]
    return tuple(sorted(parts, key=lambda part: part.name))


def _tool_part(tool: "Tool[..., Any] | AgentTool") -> ToolPart:
    if isinstance(tool, Tool):
        declared = tool.definition
        return ToolPart(declared.name, schema_of(declared.spec), declared.digest, declared.effect)
    return ToolPart(tool.name, schema_of(tool.spec), code_of(tool.agent), "agent")


def schema_of(spec: ToolSpec) -> str:
    """SHA-256 of what models are shown of a tool."""
    return canonical_digest([spec.name, spec.description, spec.schema])


def draft(
    agent: AgentDef,
    author: str,
    *,
    prompts: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    budget: BudgetRecord | None = None,
    policy: Mapping[str, str] | None = None,
    version: str = "",
    filters: Mapping[str, Any] | None = None,
) -> Manifest:
    """A release of an agent as it is offered here, with these changes. ``filters``: in their plain form.

    Raises:
        ReleaseInvalid: a change that this agent cannot take, or that cannot be.
    """
    own = isinstance(agent, Agent)
    if not own and (prompts or models or settings):
        what = "only its budget, filters and policy can be released beside its code"
        raise ReleaseInvalid(f"{agent.name} is no Agent(...) with a prompt and a model of its own: {what}")
    known: dict[str, Any] = {}
    texts: dict[str, str] = {}
    named: tuple[str, ...] = ()
    if isinstance(agent, Agent):
        known, texts, named = _settings_of(agent), {INSTRUCTIONS: agent.instructions}, tuple(_model_names(agent))
    if strange := sorted(set(prompts or ()) - set(texts)):
        raise ReleaseInvalid(f"{agent.name} has no prompt {strange[0]!r}", hint=f"it has {', '.join(texts) or 'none'}")
    return checked(
        Manifest(
            agent=agent.name,
            code=code_of(agent),
            offered=agent.release,
            prompts={**texts, **(prompts or {})},
            models=tuple(models) or named,
            settings={**known, **(settings or {})},
            tools=tools_of(agent),
            policy=dict(policy or {}),
            budget=budget or agent.budget,
            version=version or agent.release,
            author=author,
            format=FORM,
            filters=_drafted_filters(agent, filters),
        ),
        known,
    )


def _drafted_filters(agent: AgentDef, said: Mapping[str, Any] | None) -> dict[str, Any] | msgspec.UnsetType:
    """Those that somebody wants instead, else the agent's own; of an agent without any nothing is said, so that those
    of the worker's setting go on to count, and releases from before there were filters keep their ids."""
    try:
        if said is not None:
            return settled(said, classifiers_of(agent))
    except FiltersInvalid as error:
        raise ReleaseInvalid(f"the filters cannot be: {error.what}") from error
    own = getattr(agent, "filters", None)
    return msgspec.UNSET if own is None else plain_of(own)


def classifiers_of(agent: AgentDef) -> Sequence[Classified]:
    """What an agent's code has beside the detectors that all have."""
    own = getattr(agent, "filters", None)
    return () if own is None else tuple(own.classifiers)


def checked(manifest: Manifest, known: Mapping[str, Any]) -> Manifest:
    """The manifest.

    Raises:
        ReleaseInvalid: says what of it cannot be.
    """
    if strange := sorted(set(manifest.settings) - set(known)):
        raise ReleaseInvalid(f"there is no setting {strange[0]!r}", hint=f"there are {', '.join(known) or 'none'}")
    for name, (least, most) in _NUMBERS.items():
        value = manifest.settings.get(name, least)
        whole = isinstance(value, int) or (name == "timeout_seconds" and isinstance(value, float))
        if not whole or isinstance(value, bool) or not least <= value <= most:
            raise ReleaseInvalid(f"{name} is {value!r}", hint=f"give a number from {least:g} to {most:g}")
    heat = manifest.settings.get("temperature")
    if heat is not None and (
        isinstance(heat, bool) or not isinstance(heat, int | float) or not math.isfinite(heat) or not 0 <= heat <= 10
    ):
        raise ReleaseInvalid(f"temperature is {heat!r}", hint="null, or a number from 0 to 10")
    for name in ("prompt_cache", "show_budget"):
        if not isinstance(manifest.settings.get(name, False), bool):
            raise ReleaseInvalid(f"{name} is {manifest.settings[name]!r}", hint="true or false")
    if not isinstance(manifest.settings.get("extra", {}), dict):
        raise ReleaseInvalid("extra is no object")
    models = manifest.models
    if len(models) > MODELS_MAX or len(set(models)) < len(models) or (known and not models):
        raise ReleaseInvalid(f"{len(models)} models", hint=f"1 to {MODELS_MAX}, each once")
    for what, text in (("author", manifest.author), ("version", manifest.version), *(("model", m) for m in models)):
        if not text.strip() or len(text) > TEXT_MAX_CHARS or not text.isprintable():
            raise ReleaseInvalid(f"{text[:64]!r} is no {what}", hint=f"1 to {TEXT_MAX_CHARS} printable characters")
    if any(not text.strip() for text in manifest.prompts.values()):
        raise ReleaseInvalid("a prompt is empty")
    if manifest.policy:
        try:
            PolicySet.compile(manifest.policy)
        except PolicyInvalid as error:
            raise ReleaseInvalid(f"the policy cannot be read: {error.what}") from error
    encode(manifest)
    return manifest


def encode(manifest: Manifest) -> bytes:
    """The canonical form (RFC 8785): what is stored, addressed and signed.

    Raises:
        ReleaseInvalid: it is too large, or holds what JSON cannot carry.
    """
    try:
        data = canonical_json(msgspec.to_builtins(manifest))
    except InputInvalid as error:
        raise ReleaseInvalid(f"the release of {manifest.agent} cannot be stored: {error.what}") from error
    if len(data) > MANIFEST_MAX_BYTES:
        raise ReleaseInvalid(
            f"the release of {manifest.agent} has {len(data):,} bytes; at most {MANIFEST_MAX_BYTES:,} are kept"
        )
    return data


def address(data: bytes) -> str:
    """The id of a release: SHA-256 of its canonical form, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read(data: bytes) -> Manifest:
    """A stored manifest.

    Raises:
        ReleaseInvalid: it is not in canonical form, or of a form that this program does not read.
    """
    try:
        plain = msgspec.json.decode(data)
        if not isinstance(plain, dict) or plain.get("format") != FORM:
            said = plain.get("format") if isinstance(plain, dict) else None
            raise ReleaseInvalid(f"a release of form {str(said)[:20]}; this program reads {FORM}")
        if canonical_json(plain) != data:
            raise ReleaseInvalid("a release is not stored in its canonical form")
        return msgspec.convert(plain, Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, InputInvalid) as error:
        raise ReleaseInvalid(f"a release cannot be read: {str(error)[:200]}") from error


def mismatch(agent: AgentDef, manifest: Manifest) -> str:
    """Why an agent, as it is offered here, cannot be run as this release; "" = it can."""
    here = {part.name: part for part in tools_of(agent)}
    then = {part.name: part for part in manifest.tools}
    if gone := sorted(set(then) - set(here)):
        return f"the tool {gone[0]} is not offered here"
    if new := sorted(set(here) - set(then)):
        return f"the tool {new[0]} is offered here, and was not there when it was reviewed"
    for name, part in then.items():
        if part.schema != here[name].schema:
            return f"the tool {name} has another schema than when it was reviewed"
        if part.digest != here[name].digest:
            return f"the tool {name} has other code than when it was reviewed"
    if manifest.code != code_of(agent):
        return "the code of the agent is another than when it was reviewed"
    return ""


def offered_as(agent: AgentDef, release: str, manifest: Manifest) -> AgentDef:
    """The agent as a release has it, to be run under the release's own name. The caller has asked `mismatch`."""
    assert isinstance(agent, Definition)
    changed = copy.copy(agent)
    changed.release = release
    changed.budget = manifest.budget
    if manifest.filters is not msgspec.UNSET:
        changed.filters = filters_of(manifest.filters, classifiers_of(agent))
    if isinstance(changed, Agent):
        known: dict[str, str | Model] = {}
        for model in (changed.model, *changed.fallback_models):
            known[_name(model)] = model  # an object that the module made is not to be found by its name elsewhere
        first, *others = [known.get(name, name) for name in manifest.models]
        changed.model, changed.fallback_models = first, tuple(others)
        changed.instructions = manifest.prompts[INSTRUCTIONS]
        said = manifest.settings
        changed.settings = ModelSettings(
            said["max_tokens"],
            said["temperature"],
            None,
            said["timeout_seconds"],
            said["extra"],
            said["prompt_cache"],
        )
        changed.attempts, changed.repairs, changed.show_budget = said["attempts"], said["repairs"], said["show_budget"]
    return changed


def trial(agent: AgentDef, manifest: Manifest) -> str:
    """Why `offered_as` cannot make an agent of it; "" = it can. Manifests come from the store: what they lack is no
    reason for a worker to fail."""
    try:
        offered_as(agent, "", manifest)
    except (KeyError, TypeError, ValueError, AssertionError, PenstockError) as error:
        return f"it cannot be put together: {type(error).__name__}: {str(error)[:100]}"
    return ""


def _settings_of(agent: Agent) -> dict[str, Any]:
    settings = agent.settings
    return {
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "timeout_seconds": settings.timeout_seconds,
        "extra": dict(settings.extra),
        "prompt_cache": settings.prompt_cache,
        "attempts": agent.attempts,
        "repairs": agent.repairs,
        "show_budget": agent.show_budget,
    }


def _model_names(agent: Agent) -> list[str]:
    return [_name(model) for model in (agent.model, *agent.fallback_models)]


def _name(model: str | Model) -> str:
    return model if isinstance(model, str) else model.name
