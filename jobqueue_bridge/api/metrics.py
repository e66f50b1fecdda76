"""`GET /metrics`: what Prometheus scrapes."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from jobqueue_bridge.api.dependencies import CurrentSettings, Database
from jobqueue_bridge.metrics import QueueMetrics

router = APIRouter()


@router.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, database: Database, settings: CurrentSettings) -> Response:
    """Prometheus' text format, or OpenMetrics for who asks for it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(QueueMetrics(database, settings))
    return Response(encode(registry), headers={"Content-Type": content_type})
