"""What a person asks of Dagster's UI, by the GraphQL that its pages send."""

from collections.abc import Sequence
from typing import Any

import httpx

_LOCATION = "media_pipelines"
_UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_SENSOR = """
query Q($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { id } } }
}
"""
_STOP = """
mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }
"""
_BACKFILL = (
    "query Q($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
)
_RUNS = "query Q($s: [RunStatus!]) { runsOrError(filter: {statuses: $s}) { ... on Runs { results { runId } } } }"


class DagsterUi:
    def __init__(self, address: str) -> None:
        self.address = address
        # a proxy of this machine must not stand between us and the webserver
        self._client = httpx.Client(base_url=address, timeout=60, trust_env=False)

    def ask(self, query: str, **variables: Any) -> Any:
        answer = self._client.post("/graphql", json={"query": query, "variables": variables}).raise_for_status().json()
        assert "errors" not in answer, answer
        return answer["data"]

    def launch_backfill(self, asset: str, partitions: Sequence[str], title: str) -> str:
        """Its id."""
        asked = {"assetSelection": [{"path": [asset]}], "partitionNames": list(partitions), "title": title}
        launched = self.ask(_LAUNCH, params=asked)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill_status(self, backfill_id: str) -> str:
        return str(self.ask(_BACKFILL, id=backfill_id)["partitionBackfillOrError"]["status"])

    def stop_sensor(self, name: str) -> None:
        repository = {"repositoryLocationName": _LOCATION, "repositoryName": "__repository__"}
        state = self.ask(_SENSOR, selector={**repository, "sensorName": name})["sensorOrError"]["sensorState"]
        stopped = self.ask(_STOP, id=state["id"])["stopSensor"]
        assert stopped["__typename"] == "StopSensorMutationResult", stopped

    def unfinished_runs(self) -> int:
        return len(self.ask(_RUNS, s=_UNFINISHED)["runsOrError"]["results"])
