"""Runs of ours as spans of OpenTelemetry with the attributes of OpenInference, as its instrumentations would send them:
https://arize-ai.github.io/openinference/spec/semantic_conventions.html."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from penstock.events.messages import Message, ToolCall
from penstock.views.spans import Span
from penstock.views.trace import Trace

KINDS = {"model": "LLM", "tool": "TOOL", "child": "AGENT"}
OTHER = "CHAIN"
_ROOT = "run"
Attributes = dict[str, str | int | float]


def spans_of(trace: Trace) -> Iterator[dict[str, Any]]:
    """One for the run, and one for each of its calls."""
    about: Attributes = {
        "openinference.span.kind": "AGENT",
        "metadata": json.dumps({**trace.tags, "release": trace.release, "environment": trace.env}),
        **_content("input", trace.input),
        **_content("output", trace.output),
    }
    yield _span(trace, _ROOT, "", trace, about)
    for span in trace.spans:
        yield from _below(trace, span, _ROOT)


def trace_id(trace: Trace) -> str:
    """In hexadecimal digits, as that of OpenTelemetry."""
    return trace.run.hex


def span_id(trace: Trace, path: str) -> str:
    """In hexadecimal digits; ``path`` as the API has it."""
    return hashlib.sha256(f"{trace.run}/{path}".encode()).hexdigest()[:16]


def _below(trace: Trace, span: Span, parent: str) -> Iterator[dict[str, Any]]:
    yield _span(trace, span.path, parent, span, _about(span))
    for inner in span.spans:
        yield from _below(trace, inner, span.path)


def _span(trace: Trace, path: str, parent: str, of: Trace | Span, about: Attributes) -> dict[str, Any]:
    started = of.submitted_at if isinstance(of, Trace) else of.started_at
    return {
        "trace": trace_id(trace),
        "span": span_id(trace, path),
        "parent": span_id(trace, parent) if parent else "",
        "name": of.agent if isinstance(of, Trace) else of.name,
        "from": started * 1000,
        "to": max(started, of.ended_at) * 1000,
        "ok": (of.outcome == "succeeded") if isinstance(of, Trace) else (of.status == "ok"),
        "attributes": about,
    }


def _about(span: Span) -> Attributes:
    about: Attributes = {"openinference.span.kind": KINDS.get(span.kind, OTHER)}
    said = [{"rule": one.rule, "verdict": one.verdict, "reason": one.reason} for one in span.verdicts]
    about["metadata"] = json.dumps({**span.about, "passed": span.passed, "verdicts": said})
    if span.kind == "model":
        about |= {
            "llm.model_name": span.name,
            "llm.token_count.prompt": span.used.tokens_in,
            "llm.token_count.completion": span.used.tokens_out,
            "llm.token_count.total": span.used.tokens_in + span.used.tokens_out,
        }
        for number, message in enumerate(span.input or ()):
            about |= _message(f"llm.input_messages.{number}.message", message)
        about |= _answer("llm.output_messages.0.message", span)
        about |= _content("input", [m.text for m in span.input or () if isinstance(m, Message)])
        about |= _content("output", span.output or span.asks)
        return about
    if span.kind == "tool":
        about |= {"tool.name": span.name}
    return about | _content("input", span.input) | _content("output", span.output)


def _message(prefix: str, message: Any) -> Attributes:
    if not isinstance(message, Message):
        return {}
    said: Attributes = {f"{prefix}.role": message.role, f"{prefix}.content": message.text}
    asked = [part for part in message.parts if isinstance(part, ToolCall)]
    for number, call in enumerate(asked):
        said[f"{prefix}.tool_calls.{number}.tool_call.function.name"] = call.name
        said[f"{prefix}.tool_calls.{number}.tool_call.function.arguments"] = call.args
    return said


def _answer(prefix: str, span: Span) -> Attributes:
    said: Attributes = {f"{prefix}.role": "assistant", f"{prefix}.content": span.output or ""}
    for number, call in enumerate(span.asks):
        said[f"{prefix}.tool_calls.{number}.tool_call.function.name"] = call["name"]
        said[f"{prefix}.tool_calls.{number}.tool_call.function.arguments"] = call["args"]
    return said


def _content(side: str, value: Any) -> Attributes:
    if value is None:
        return {}
    if isinstance(value, str):
        return {f"{side}.value": value, f"{side}.mime_type": "text/plain"}
    return {f"{side}.value": json.dumps(value, default=str), f"{side}.mime_type": "application/json"}
