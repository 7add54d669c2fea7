"""Sends spans to a collector, in the peer's own virtualenv: ``python phoenix_send.py FILE URL PROJECT``.

It stands alone: nothing of ours is installed there.
"""

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

AT_A_TIME = 500


def main(path: str, url: str, project: str) -> None:
    """Send the spans of a file, one a line."""
    with Path(path).open(encoding="utf-8") as file:
        for spans in _groups(map(json.loads, file)):
            sent = urllib.request.Request(
                f"{url}/v1/traces",
                _request(spans, project).SerializeToString(),
                {"Content-Type": "application/x-protobuf"},
            )
            with urllib.request.urlopen(sent, timeout=60) as answer:
                answer.read()


def _groups(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for item in items:
        group.append(item)
        if len(group) == AT_A_TIME:
            yield group
            group = []
    if group:
        yield group


def _request(spans: list[dict[str, Any]], project: str) -> ExportTraceServiceRequest:
    resource = Resource(attributes=[_attribute("openinference.project.name", project)])
    scope = ScopeSpans(spans=[_span(span) for span in spans])
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])])


def _span(span: dict[str, Any]) -> Span:
    return Span(
        trace_id=bytes.fromhex(span["trace"]),
        span_id=bytes.fromhex(span["span"]),
        parent_span_id=bytes.fromhex(span["parent"]),
        name=span["name"],
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span["from"],
        end_time_unix_nano=span["to"],
        attributes=[_attribute(name, value) for name, value in span["attributes"].items()],
        status=Status(code=Status.STATUS_CODE_OK if span["ok"] else Status.STATUS_CODE_ERROR),
    )


def _attribute(name: str, value: Any) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(double_value=value))


if __name__ == "__main__":
    main(*sys.argv[1:])
