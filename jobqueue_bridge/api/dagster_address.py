"""Where the reader of a page finds the Dagster UI."""

import re

from jobqueue_bridge.settings import WILDCARD_HOSTS, Settings

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


def dagster_address(settings: Settings, host_header: str) -> str:
    """On the host that the reader came by, where Dagster listens on every address."""
    name = settings.dagster_host
    if name in WILDCARD_HOSTS:
        asked = _HOST.fullmatch(host_header)
        name = asked["name"] if asked else "localhost"
    return f"http://{name}:{settings.dagster_port}/"
