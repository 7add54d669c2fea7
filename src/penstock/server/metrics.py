"""What Prometheus reads. Labels have bounded values: route templates, outcomes; never addresses or names."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from penstock.ports.records import Answer, Applied, Batch, Status

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
disable_created_metrics()  # type: ignore[no-untyped-call]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("penstock_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "penstock_http_request_seconds",
            "From a request's head to the end of its answer; streams included.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._under_way = Gauge("penstock_http_requests_under_way", "Requests under way.", registry=self.registry)
        self._appends = Histogram(
            "penstock_append_seconds",
            "From sending events to the journal until they were durable, each a group of runs.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._events = Counter("penstock_events", "Events that this process made durable.", registry=self.registry)
        self._ended = Counter(
            "penstock_runs_ended", "Runs that ended in this process.", ("outcome",), registry=self.registry
        )
        self._tokens = Counter(
            "penstock_tokens",
            "Tokens of runs that ended in this process and were started by no other run; with those below them.",
            registry=self.registry,
        )
        self._nano = Counter(
            "penstock_spent_nanodollars",
            "Money of the same runs, in billionths of a dollar; of simulated models it is only pretended.",
            registry=self.registry,
        )

    def begun(self) -> None:
        """A request has come."""
        self._under_way.inc()

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """It was answered. ``status`` 0: whoever asked had gone."""
        self._under_way.dec()
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "none", str(status)).inc()
        self._seconds.labels(known, route or "none").observe(seconds)

    def appended(self, seconds: float, batches: Sequence[Batch], answers: Sequence[Applied]) -> None:
        """The journal has answered an append."""
        self._appends.observe(seconds)
        for batch, answer in zip(batches, answers, strict=True):
            if answer.answer is not Answer.APPLIED:
                continue
            self._events.inc(len(batch.rows))
            if batch.move is not None and batch.move.status is Status.ENDED:
                self._ended.labels(batch.move.outcome or "none").inc()
                if batch.move.post is None:  # a run below another counts with that one
                    self._tokens.inc(batch.summary.tokens)
                    self._nano.inc(batch.summary.nano)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
