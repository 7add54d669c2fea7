"""The API's description, as OpenAPI 3.1."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from penstock.server.schemas.base import Problem

DESCRIPTION = """Submit runs, watch them, decide and stop.

Times are integers: microseconds since the epoch (UTC). Money is integer nano-dollars (1 USD = 10**9). Errors are
`application/problem+json` with a stable `code`. The tenant is always that of the key."""
_PROBLEM_ANSWER = {
    "description": "What went wrong",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI) -> None:
    """Make ``app.openapi()`` give the description, with errors and ways to sign in that all routes share."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _description(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key: pk_…"},
        "session": {"type": "apiKey", "in": "cookie", "name": "penstock_session", "description": "The console's"},
    }
    for operations in schema.get("paths", {}).values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _PROBLEM_ANSWER
            if operation.pop("x-open", False):
                operation["security"] = []
            else:
                operation["security"] = [{"key": []}, {"session": []}]
    return schema
