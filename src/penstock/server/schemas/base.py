"""Bases of what is taken and given, and what all of it shares."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

PAGE_MAX = 500
"""Items of one page at most."""

Limit = Annotated[int, Field(ge=1, le=PAGE_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(max_length=2000)]


class Taken(BaseModel):
    """Base of request bodies: unknown fields are refused, so that a misspelled one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """The database holds no text with a NUL. What a run is given is checked where it is stored."""
        texts = value if isinstance(value, list | dict) else [value]
        if isinstance(texts, dict):
            texts = [*texts, *texts.values()]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("there is a NUL character")
        return value


class Given(BaseModel):
    """Base of answers. Every field is always sent, so the description marks those with defaults as required too."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Problem(Given):
    """An error, as RFC 9457 (``application/problem+json``) with the product's own code."""

    type: str = Field(description="address of the code's description")
    title: str = Field(description="what happened, in one sentence")
    status: int
    code: str = Field(description="stable word for programs; docs/reference/errors.md lists all")
    hint: str = Field(default="", description="what to do")
    instance: str = Field(default="", description="the request's id, also in the header X-Request-Id and in the logs")
    fields: dict[str, Any] = Field(default_factory=dict, description="facts of this error, such as a run's id")


class Amounts(Given):
    """Tokens and money."""

    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = Field(default=0, description="of nano: charged at the maximum, the real figure was lost")


class RuleSaid(Given):
    """What one rule said of one call."""

    rule: str
    version: int
    verdict: str = Field(description="allow | flag | hold | deny")
    reason: str = ""
    code: str = ""


class Waited(Given):
    """One thing that a parked run waits for."""

    kind: str = Field(description="approval | child | timer | doubt | message | event | run | retry")
    path: str
    name: str = ""
    id: str = ""
    until: int = Field(default=0, description="0 = no end")
