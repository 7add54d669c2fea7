"""What was spent, and why."""

from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Amounts, Given


class CostRow(Given):
    """What one value of the grouping, or one combination of values, has spent."""

    value: str = Field(description="of the first dimension; '' = none, `*` = all values beyond the bound of a day")
    values: list[str] = Field(description="of all dimensions, in their order")
    used: Amounts
    classes: dict[str, int] = Field(
        default_factory=dict,
        description=(
            "of the tokens: cached, written, written_hour (into the provider's cache), reasoning, audio_in, audio_out, "
            "image_in, image_out; what is 0 is left out"
        ),
    )
    runs: int
    model_calls: int
    before_nano: int = Field(description="in the stretch of the same length before")
    dearest: UUID | None = Field(default=None, description="its dearest run; of several dimensions none")


class CostPoint(Given):
    """What was spent in one bin of time, by value of the first dimension."""

    at: int
    nano: dict[str, int]


class Costs(Given):
    """What was spent."""

    since: int
    until: int
    as_of: int
    by: str = Field(description="the dimensions as they were asked for, such as `customer,feature`")
    dimensions: list[str]
    rows: list[CostRow] = Field(description="dearest first, at most 200; the rest is in ``others``")
    others: Amounts
    total: Amounts
    classes: dict[str, int] = Field(default_factory=dict, description="of the total's tokens")
    total_runs: int
    width: int = Field(description="microseconds of a bin")
    series: list[CostPoint]
    counted_until: int = Field(
        description="runs that ended after this are not in it by hour, model and kind yet, but by what their rows say"
    )
    live_nano: int = Field(default=0, description="of the total: by runs that have not ended or are not counted yet")
    partial: bool = Field(
        default=False,
        description="not all is in the total: too many runs go on, or what they spent cannot be told by the filter yet",
    )


class CostReason(Given):
    """One reason why something is dear."""

    code: str = Field(
        description="spiral | retries | lost | more_steps | long_prompts | dear_model | no_cache | volume"
    )
    words: str
    nano: int = Field(description="nano-dollars that it accounts for; 0 when that cannot be said")
    share: float = Field(description="of the money looked at, from 0 to 1")
    runs: int = Field(description="runs that it was seen in; 0 when it is not about single runs")
    name: str = Field(description="the tool that it is about, or ''")
    examples: list[UUID] = Field(description="runs, the dearest first")


class DearRun(Given):
    """One of the dearest runs."""

    id: UUID
    agent: str
    nano: int
    outcome: str | None
    code: str
    steps: int
    circles: str = Field(description="what it repeated in vain, in words, or ''")


class CostExplained(Given):
    """Why a customer is dear."""

    since: int
    until: int
    customer: str
    feature: str
    words: str = Field(description="the answer in one sentence")
    nano: int
    runs: int
    per_run_nano: int
    peers: int = Field(description="other customers, of the same feature if one is asked for")
    peers_per_run_nano: int = Field(description="the median of what a run of theirs costs; 0 when there are none")
    ratio: float = Field(description="of the two; 0 when there are no peers")
    by_kind: dict[str, int] = Field(description="nano-dollars by what was paid for; see ``by=kind`` of the costs")
    by_step: dict[str, int] = Field(
        description="nano-dollars of the dearest runs, by the tool after whose result the model was asked; '' = first"
    )
    cached_share: float = Field(description="of its prompts' tokens, from the provider's cache")
    reasons: list[CostReason] = Field(description="the weightiest first")
    dearest: list[DearRun]
    looked_at: int = Field(description="runs whose records were read: the dearest, at most 60")
    looked_at_nano: int
    partial: bool = Field(description="records of some runs are gone, or there are too many to look at all")


class RerateShown(Given):
    """A re-rating: what calls were billed at, and what they would have cost at corrected prices."""

    id: UUID
    at: int
    model: str
    since: int
    until: int
    price: str = Field(description="the corrected one: nano-dollars a token by class, and where it is from")
    before: dict[str, int] = Field(description="calls by the price that they were billed at")
    billed: int
    corrected: int
    rows: list["RerateLine"]
    partial: bool
    pruned: int = Field(description="runs whose records are gone: their calls are not in it")
    reason: str


class RerateLine(Given):
    """One customer of a re-rating, in nano-dollars."""

    customer: str
    calls: int
    billed: int
    corrected: int
    difference: int = Field(description="corrected less billed")
    kept: int = Field(description="of both: what could not be rated anew, and stays as it was")


class Rerates(Given):
    """Re-ratings, the newest first."""

    items: list[RerateShown]
