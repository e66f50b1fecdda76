"""What the API answers is what its schema says: a short run of Schemathesis. `make fuzz` is the long one."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from jobqueue_bridge.settings import Settings
from tests.fuzz import rows

_FEW = examples(
    max_examples=3,  # of each operation
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_CHECKS: list[Any] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
def operations(address: str, database: sa.Engine, settings: Settings, library: Any) -> Iterator[Any]:
    """All of the schema as it is served, with rows behind it; but streams stay open, and have tests of their own."""
    rows.fill(database, settings)
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json").exclude(path_regex="/events$")
    return (found.ok() for found in schema.get_all_operations())


def test_every_answer_is_one_that_the_schema_knows(operations: Iterator[Any], api: httpx.Client) -> None:
    asked = set()
    for operation in operations:

        @_FEW
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call(headers={"Authorization": api.headers["authorization"]})
            case.validate_response(answer, checks=_CHECKS)

        ask()
        asked.add(operation.label)
    assert {"GET /api/media/jobs", "POST /api/media/jobs/bulk", "PATCH /api/media/jobs/{id}"} <= asked
