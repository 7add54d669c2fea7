"""The gateway's configuration: providers, and what is said of single models."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.kernel.errors import FiltersInvalid, GatewayInvalid
from penstock.rules.filters.filters import SCORE_MIN, Action, Filters, leaving
from penstock.rules.filters.phone import REGIONS

Api = Literal["openai", "anthropic"]
Positive = Annotated[int, Meta(ge=1, le=100_000_000)]

DEFAULT_URLS: dict[Api, str] = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
KEY_VARIABLES: dict[Api, str] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider.

    Attributes:
        api: the wire formats that it speaks.
        url: what the paths of requests are put behind: with ``/v1`` for OpenAI's formats, without for Anthropic's.
        key_env: the variable that holds its key; "" = none is sent.
        prices: the provider's name in the price list; "" = the upstream's own name.
        timeout_seconds: for a whole answer, streamed ones too.
        connections: requests that may be under way at a time; others wait.
        answer_max_bytes: of one answer.
        max_output_tokens: what a request that names no maximum may make; put in by the gateway.
        context_tokens: no prompt is longer, whatever it holds; 0 = what the price list says of the model, or 1,000,000.
        simulated: what comes from there is marked as such.
    """

    api: Api
    url: str = ""
    key_env: str | None = None
    prices: str = ""
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 600.0
    connections: Annotated[int, Meta(ge=1, le=20_000)] = 1000
    answer_max_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 * 1024 * 1024
    max_output_tokens: Positive = 8192
    context_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    simulated: bool = False


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one model, as clients name it.

    Attributes:
        upstream: who serves it; "" = the first upstream of the API that is asked.
        name: as the provider names it; "" = the same.
        fallback: models that are asked in turn when it fails before an answer has begun.
        max_output_tokens, context_tokens: 0 = the upstream's.
    """

    upstream: str = ""
    name: str = ""
    fallback: tuple[str, ...] = ()
    max_output_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    context_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = 0


class CacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers that may be given again, of the calls of one agent.

    Attributes:
        seconds: how long an answer lives; at most ``PENSTOCK_CACHE_SECONDS_MAX``.
        scope: who shares it.
        temperature_max: calls at a higher temperature are not cached. One that names none is at 1, as the providers
            document.
    """

    seconds: Annotated[float, Meta(gt=0, le=604_800)]
    scope: Literal["run", "customer", "agent", "tenant"] = "customer"
    temperature_max: Annotated[float, Meta(ge=0, le=2)] = 0.0


class FiltersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken out of the calls of one agent. Kinds and actions as `penstock.Filters` has them.

    Attributes:
        requests: of what goes to a provider. With ``tokenise`` a token goes there, and the value is put back into the
            answer.
        answers: of what comes back.
        patterns, regions, score_min: as `penstock.Filters`.
    """

    requests: dict[str, Action] = {}
    answers: dict[str, Literal["flag", "redact", "block"]] = {}
    patterns: dict[str, str] = {}
    regions: tuple[str, ...] = REGIONS
    score_min: Annotated[float, Meta(ge=0, le=1)] = SCORE_MIN


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it.

    Attributes:
        cache: by agent, ``*`` for all others; of an agent that is not named, nothing is cached.
        filters: by agent, ``*`` for all others; of an agent that is not named, nothing is filtered.
        only_listed: models that ``models`` does not name are refused.
        idle_seconds: after which a named run with no call under way is ended.
        body_max_bytes: of one request.
        runs_max: runs held at a time.
    """

    upstreams: dict[str, UpstreamConfig] = {}
    models: dict[str, ModelConfig] = {}
    cache: dict[str, CacheConfig] = {}
    filters: dict[str, FiltersConfig] = {}
    only_listed: bool = False
    idle_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    body_max_bytes: Annotated[int, Meta(ge=1024, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    runs_max: Annotated[int, Meta(ge=1, le=100_000)] = 10_000


def read_config(path: Path | None, environment: Mapping[str, str]) -> GatewayConfig:
    """The configuration of a file. Without one: the providers whose keys are in the environment.

    Raises:
        GatewayInvalid: it cannot be read; the message names the field.
    """
    if path is None:
        found = {api: UpstreamConfig(api) for api, variable in KEY_VARIABLES.items() if environment.get(variable)}
        if not found:
            variables = " or ".join(KEY_VARIABLES.values())
            raise GatewayInvalid("there is no provider to pass calls to", hint=f"set {variables}, or give a --config")
        return checked(GatewayConfig(found))  # type: ignore[arg-type]
    try:
        return checked(msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), GatewayConfig))
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayInvalid(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise GatewayInvalid(f"{path}: {error}") from error


def checked(config: GatewayConfig) -> GatewayConfig:
    """The configuration, when its parts fit together.

    Raises:
        GatewayInvalid: says what does not.
    """
    if not config.upstreams:
        raise GatewayInvalid("the configuration names no upstream", hint="add a table [upstreams.NAME]")
    for name, model in config.models.items():
        if model.upstream and model.upstream not in config.upstreams:
            raise GatewayInvalid(f"the model {name} names the upstream {model.upstream!r}, which there is not")
        for other in model.fallback:
            if other not in config.models and config.only_listed:
                raise GatewayInvalid(f"the model {name} falls back to {other!r}, which is not listed")
    for agent, said in config.filters.items():
        filters_of(agent, said)
    return config


def filters_of(agent: str, said: FiltersConfig) -> tuple[Filters, Filters]:
    """The filters of an agent's requests and of its answers.

    Raises:
        GatewayInvalid: a kind that nothing looks for, or a pattern that could run away.
    """
    options: dict[str, Any] = {"patterns": said.patterns, "regions": said.regions, "score_min": said.score_min}
    try:
        return Filters(input=said.requests, **options), leaving(said.answers, **options)
    except FiltersInvalid as error:
        raise GatewayInvalid(f"the filters of {agent}: {error.what}") from error


def key_of(upstream: UpstreamConfig, environment: Mapping[str, str]) -> str:
    """The provider's key; "" = none is sent.

    Raises:
        GatewayInvalid: the variable that is to hold it is not set.
    """
    variable = KEY_VARIABLES[upstream.api] if upstream.key_env is None else upstream.key_env
    if not variable:
        return ""
    key = environment.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise GatewayInvalid(f"the variable {variable} holds no key", hint='set it, or write key_env = "" for none')
    return key
