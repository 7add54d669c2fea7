"""OpenAI's embeddings: input only, and one answer."""

from typing import Any, Literal

import msgspec

from penstock.adapters.providers.usage import OPENAI_EMBEDDINGS
from penstock.events.messages import Message, Text
from penstock.integrations.gateway.shapes.base import Ask, Body, Reply, Stream, Unfit, model_of, text_of, used


class Embeddings:
    """See `Shape`."""

    name = "openai.embeddings"
    api: Literal["openai", "anthropic"] = "openai"
    path = "/embeddings"
    embeds = True

    def ask(self, body: Body) -> Ask:
        model, given = model_of(body), body.get("input")
        if not isinstance(given, str | list) or not given:
            raise Unfit("invalid_value", "input must be a text or a list", "input")
        texts = [given] if isinstance(given, str) else given
        messages = [Message("user", [Text(text_of(text))]) for text in texts]
        rest = {name: value for name, value in body.items() if name != "input"}
        return Ask(model, False, 1, messages, rest)

    def cap(self, body: Body, ask: Ask, most: int) -> None:
        del body, ask, most

    def reply(self, body: bytes) -> Reply:
        whole: Any = msgspec.json.decode(body)
        if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
            raise ValueError("no embeddings")
        # The vectors are numbers that nobody reads: how many there were says what was done.
        words = f"{len(whole['data'])} embeddings"
        return Reply(Message("assistant", [Text(words)]), used(OPENAI_EMBEDDINGS, whole.get("usage")), "stop")

    def stream(self, ask: Ask) -> Stream:
        raise NotImplementedError("embeddings are not streamed")


EMBEDDINGS = Embeddings()
