"""Which engines this installation has: what is set for each role, what serves, and whether the weights are whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from media_pipelines.ai.analysis import Role
from media_pipelines.ai.engines import weights
from media_pipelines.ai.engines.choosing import PREFERRED, Engines, Wishes
from media_pipelines.ai.errors import EngineUnavailable


@dataclass(frozen=True)
class Served:
    """One role. `device` and `reason` are known once its engine was loaded."""

    role: Role
    wanted: str
    serves: str
    device: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Carried:
    """One entry of `weights.lock`. `problem`: why it cannot be used; `damaged` where the file is there but another."""

    name: str
    distribution: str
    licence: str
    sha256: str
    problem: str | None
    damaged: bool


def served(wishes: Wishes, *, load: bool) -> Iterator[Served]:
    """Raises BadReference."""
    engines = Engines(wishes)
    for role in PREFERRED:
        wanted = wishes.reference(role)
        if not load:
            yield Served(role, wanted, engines.expected(role))
            continue
        try:
            engine = engines.used(role)
            yield Served(role, wanted, engine.reference, engine.device, engine.reason)
        except EngineUnavailable as error:
            yield Served(role, wanted, "none", None, error.reason)


def carried() -> Iterator[Carried]:
    for weight in weights.locked().values():
        problem, damaged = None, False
        try:
            weight.path()
            damaged = True
            weight.checked()
            damaged = False
        except EngineUnavailable as error:
            problem = error.reason
        yield Carried(weight.name, weight.distribution, weight.licence, weight.sha256, problem, damaged)
