"""Real models, behind our `Model` port, through pydantic-ai's provider classes.

This package is the only place that imports pydantic-ai, and it does so when the first model is made: that library takes
two seconds to import.

* `messages` — our neutral messages to the library's, and back
* `request` — our settings and tools to the library's; what is refused
* `wire` — one wire call per request, whatever an SDK would like to do
* `failures` — the library's errors to ours
* `bound` — how many tokens a prompt can have at most
* `adapter` — the model itself
"""

from typing import TYPE_CHECKING

from penstock.adapters.prices import PriceList

if TYPE_CHECKING:
    from pydantic_ai.models import Model as LibraryModel

    from penstock.adapters.providers.adapter import ProviderModel


def model_by_name(name: str, prices: PriceList | None = None) -> "ProviderModel":
    """The model of a pydantic-ai name, such as ``openai:gpt-5-mini`` or ``anthropic:claude-haiku-4-5``.

    Keys and addresses come from the environment variables that the provider's own SDK reads. ``prices`` is where its
    price is looked up; without it only the built-in list is known.

    Raises:
        ModelUnknown: no provider answers to that name.
        ProviderInvalid: the key or the provider's package is missing, or the provider cannot be held to one call.
    """
    from penstock.adapters.providers.adapter import ProviderModel, library_model

    return ProviderModel(library_model(name), name=name, prices=prices or PriceList(), ours=True)


def model_from(model: "LibraryModel", name: str | None = None, prices: PriceList | None = None) -> "ProviderModel":
    """A pydantic-ai model object behind our port. It stays the caller's: close its HTTP client where you made it.

    Args:
        model: any pydantic-ai model that makes one call per request; no ``FallbackModel``.
        name: ``provider:model`` for records and prices; without it, what the object says of itself.
        prices: where its price is looked up; without it only the built-in list is known.

    Raises:
        ProviderInvalid: it would make more than one wire call per request, or its settings go past the gates.
    """
    from penstock.adapters.providers.adapter import ProviderModel

    return ProviderModel(model, name=name, prices=prices or PriceList(), ours=False)
