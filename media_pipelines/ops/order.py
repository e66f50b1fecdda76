"""In which order a run that makes several assets executes their ops."""

from collections.abc import Mapping
from types import MappingProxyType

# Tags of every op but the first of its asset, so that one asset is made after another: in between, a run would hold the
# job of one asset while it waits for that of the next, perhaps for the very slot that it holds itself.
GOES_ON: Mapping[str, str] = MappingProxyType({"dagster/priority": "1"})
