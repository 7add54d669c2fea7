"""Who serves a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from penstock.adapters.prices import PriceList
from penstock.adapters.upstream import Upstream
from penstock.adapters.upstream.client import Headers
from penstock.integrations.gateway.config import DEFAULT_URLS, Api, GatewayConfig, ModelConfig, UpstreamConfig, key_of
from penstock.integrations.gateway.shapes import Shape, Unfit
from penstock.kernel.errors import GatewayInvalid

CONTEXT_TOKENS = 1_000_000
"""The context of a model of which nothing is known."""
_NOTHING = ModelConfig()


@dataclass(slots=True, frozen=True)
class Provider:
    """An upstream that is open."""

    name: str
    config: UpstreamConfig
    upstream: Upstream
    headers: Headers

    @property
    def listed_as(self) -> str:
        """Its name in the price list."""
        return self.config.prices or self.name


@dataclass(slots=True, frozen=True)
class Target:
    """A model at a provider. ``name``: ``provider:model``, as it stands in the journal."""

    provider: Provider
    model: str
    max_output_tokens: int
    context_tokens: int

    @property
    def name(self) -> str:
        return f"{self.provider.name}:{self.model}"

    @property
    def listed_as(self) -> str:
        """Its name in the price list."""
        return f"{self.provider.listed_as}:{self.model}"


class Targets:
    """The providers, and the models at them."""

    def __init__(
        self,
        config: GatewayConfig,
        environment: Mapping[str, str],
        prices: PriceList,
        context_of: Callable[[str], int | None],
    ) -> None:
        """``context_of``: tokens of context that the price list knows of a model.

        Raises:
            GatewayInvalid: a provider's address or key is missing.
        """
        self.config = config
        self.prices = prices
        self._context_of = context_of
        self.providers = {name: _open(name, item, environment) for name, item in config.upstreams.items()}
        self._known: dict[tuple[str, str], list[Target]] = {}

    def find(self, shape: Shape, model: str) -> list[Target]:
        """Who serves the model, and who does when that one fails.

        Raises:
            Unfit: nobody does.
        """
        known = self._known.get((shape.api, model))
        if known is None:
            if model not in self.config.models and self.config.only_listed:
                raise Unfit("model_not_found", f"the gateway does not serve the model {model!r}", "model")
            names = [model, *self.config.models.get(model, _NOTHING).fallback]
            known = [self._target(shape.api, name) for name in names]
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[shape.api, model] = known
        return known

    def first(self, api: Api) -> Provider:
        """The first provider of that API.

        Raises:
            Unfit: there is none.
        """
        for provider in self.providers.values():
            if provider.config.api == api:
                return provider
        raise Unfit("model_not_found", f"the gateway has no upstream that speaks {api}", "model")

    def with_context(self, target: Target) -> Target:
        """The target, its context looked up when nobody has said it."""
        if target.context_tokens:
            return target
        return replace(target, context_tokens=self._context_of(target.listed_as) or CONTEXT_TOKENS)

    async def close(self) -> None:
        """Close all connections."""
        for provider in self.providers.values():
            await provider.upstream.close()

    def _target(self, api: Api, name: str) -> Target:
        said = self.config.models.get(name, _NOTHING)
        provider = self.providers[said.upstream] if said.upstream else self.first(api)
        if provider.config.api != api:
            words = f"the model {name!r} is served by an upstream that speaks {provider.config.api}"
            raise Unfit("model_not_found", words, "model")
        return Target(
            provider,
            said.name or name,
            said.max_output_tokens or provider.config.max_output_tokens,
            said.context_tokens or provider.config.context_tokens,
        )


def _open(name: str, config: UpstreamConfig, environment: Mapping[str, str]) -> Provider:
    key = key_of(config, environment).encode()
    url = config.url or DEFAULT_URLS[config.api]
    try:
        upstream = Upstream(url, connections=config.connections, answer_max_bytes=config.answer_max_bytes)
    except ValueError as error:
        raise GatewayInvalid(f"the upstream {name}: {error}") from error
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"penstock-gateway"),
    ]
    if key:
        headers.append((b"x-api-key", key) if config.api == "anthropic" else (b"authorization", b"Bearer " + key))
    return Provider(name, config, upstream, headers)
