"""How many input tokens a prompt can have at most, without asking anybody and without a tokenizer.

Text: every token of a byte-level vocabulary stands for at least one byte, so a text has at most as many tokens as UTF-8
bytes; where a tokenizer normalises first (Anthropic published one that applies NFKC), at most as many as the bytes of
the normalised form. What providers put around texts is covered by constants, each with its source.
"""

import json
import re
import unicodedata
from collections.abc import Sequence

import msgspec
from pydantic_ai.models import Model as LibraryModel
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from penstock.adapters.providers.request import definitions
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall, ToolResult
from penstock.ports.model import ToolSpec

# Once a prompt. OpenAI primes every reply with 3 tokens (OpenAI cookbook, "How to count tokens with tiktoken"). At
# Anthropic a forced tool adds up to 129 tokens to what the same prompt had with a free choice ("Tool use with Claude",
# pricing), so that also a bound that is added to the provider's own count of an earlier call holds.
_PER_PROMPT = {"openai": 64, "anthropic": 256, "other": 64}
# OpenAI frames a message with 3 tokens, 4 with a name (same source); our merging adds at most a separator.
_PER_MESSAGE = 16
# A call or result: its frame; reasoning sent back as text is put into tags of at most 41 bytes.
_PER_PART = 48
# A tool: 7 to 10 tokens to open it, 12 to close the list, 3 a property (same source); the schema's JSON, which counts
# byte by byte, is longer than the form OpenAI renders it to.
_PER_TOOL = 64
# Once any tool is offered. OpenAI opens and closes a namespace for them (same source). Anthropic adds a system prompt,
# documented as 261 to 804 tokens depending on model and tool choice ("Tool use with Claude", pricing). Templates of
# open models add instructions of up to 300 tokens.
_ONCE_FOR_TOOLS = {"openai": 64, "anthropic": 1024, "other": 512}
# An argument of a call sent back: Anthropic's models see each in a frame of its own.
_PER_ARGUMENT = 24
# A number is sent back as Python writes it: 24 characters at most, and at most 4 more than it had without exponent.
_PER_EXPONENT = 24
_PER_POINT = 4
# On hosts of open models the library marks text that looks like its own frames with a note, and explains the notes
# once: 1,400 and 1,700 bytes in version 2.68 with names of the greatest length.
_PER_NOTE = 2048
_FRAME_WORDS = re.compile(r"system|pyai|assistant_thinking", re.IGNORECASE)
_FRAME_OPENERS = ("<", "&", "\uff1c", "\ufe64", "\uff06", "\ufe60")
_EXPONENT = re.compile(r"[0-9][eE]")
_TOOLS_KEPT = 4096


class PromptBound:
    """The bound for one model; tools are measured once, in the form the library sends."""

    def __init__(self, model: LibraryModel, *, prepared: bool) -> None:
        """``prepared``: the library rewrites the messages before it sends them (see the adapter)."""
        self._model = model
        self._prepared = prepared
        family = _family(model, prepared=prepared)
        self._once, self._once_for_tools = _PER_PROMPT[family], _ONCE_FOR_TOOLS[family]
        # By identity: a tool's schema is a dict. The tool is kept with its figure, so that no other gets its identity.
        self._tools: dict[int, tuple[ToolSpec, int]] = {}

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """At most so many input tokens."""
        total = self._once
        for message in messages:
            total += _PER_MESSAGE
            for part in message.parts:
                total += self._part(part)
        if tools:
            total += self._once_for_tools
            for tool in tools:
                known = self._tools.get(id(tool))
                total += known[1] if known is not None else self._measured(tool)
        return total

    def _part(self, part: Part) -> int:
        if type(part) is Text:
            size = self._text(part.text)
            return size if not part.bag else size + _kept(part)
        if type(part) is ToolResult:
            size = self._text(part.text) if part.status == "ok" else len(msgspec.json.encode(part.text)) * self._factor
            return size + len(part.id) + len(part.name) + _PER_PART
        if type(part) is ToolCall:
            return self._factor * _arguments(part.args) + len(part.id) + 4 * len(part.name) + _PER_PART + _kept(part)
        assert type(part) is Thinking
        return self._text(part.text) + _PER_PART + _kept(part)

    @property
    def _factor(self) -> int:
        # The library breaks special tokens ("<s>", three bytes) with a joiner of three bytes.
        return 2 if self._prepared else 1

    def _text(self, text: str) -> int:
        if not self._prepared:
            return _bytes(text)
        noted = any(opener in text for opener in _FRAME_OPENERS)
        noted = noted and (not text.isascii() or _FRAME_WORDS.search(text) is not None)
        return 2 * _bytes(text) + (2 * _PER_NOTE if noted else 0)

    def _measured(self, tool: ToolSpec) -> int:
        if len(self._tools) >= _TOOLS_KEPT:
            self._tools.clear()
        parameters = ModelRequestParameters(function_tools=definitions([tool]))
        sent = self._model.customize_request_parameters(parameters).function_tools
        figure = _PER_TOOL + sum(self._definition(definition) for definition in sent)
        self._tools[id(tool)] = tool, figure
        return figure

    def _definition(self, definition: ToolDefinition) -> int:
        schema = definition.parameters_json_schema
        # Templates of open models print the whole definition as indented JSON, some with every other letter escaped.
        rendered = json.dumps(schema, indent=4) if self._prepared else json.dumps(schema, ensure_ascii=False)
        described = json.dumps(definition.description or "", ensure_ascii=self._prepared)
        return _bytes(rendered) + _bytes(described) + 4 * len(definition.name)


def _family(model: LibraryModel, *, prepared: bool) -> str:
    if "claude" in model.model_name.lower():
        return "anthropic"
    return "openai" if model.system in ("openai", "azure") and not prepared else "other"


def _bytes(text: str) -> int:
    """UTF-8 bytes, of the text or of its NFKC form, whichever are more."""
    if text.isascii():
        return len(text)
    size = len(text.encode("utf-8", "surrogatepass"))
    if unicodedata.is_normalized("NFKC", text):
        return size
    return max(size, len(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")))


def _arguments(args: str) -> int:
    try:
        decoded = msgspec.json.decode(args)
    except (msgspec.DecodeError, UnicodeError):
        decoded = None
    if not isinstance(decoded, dict):
        # Sent to some providers as a JSON string inside an object.
        return max(_bytes(args), len(json.dumps(args))) + 2 * _PER_ARGUMENT
    size = _bytes(args) + _PER_ARGUMENT * len(decoded)
    return size + _PER_EXPONENT * len(_EXPONENT.findall(args)) + _PER_POINT * args.count(".")


def _kept(part: Text | Thinking | ToolCall) -> int:
    """What is sent back of the provider's own: a signature holds the whole of a reasoning, encrypted."""
    bag = part.bag
    if not bag:
        return 0
    sent = {key: bag[key] for key in ("id", "signature", "details") if key in bag}
    return len(msgspec.json.encode(sent)) if sent else 0
