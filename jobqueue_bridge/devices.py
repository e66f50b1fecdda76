"""The GPUs of this host, as the settings name them, and the numbered units that their memory is cut into.

A unit's number tells its GPU, so that what a job holds and where is one fact: GPU 0 has 0, 1, 2, … and GPU 1 has 1000,
1001, …
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

VRAM_UNIT_MB = 1000
MOST_VRAM_MB = 1_000_000
_NUMBERS_PER_GPU = MOST_VRAM_MB // VRAM_UNIT_MB
_EXPECTED = "expected the MB of each GPU, such as 16000,24000"


class Device(BaseModel):
    """One GPU. `index` is what nvidia-smi calls it; a `uuid` finds it also where that changes with a reboot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0, le=99)
    vram_mb: int = Field(ge=0, le=MOST_VRAM_MB)
    uuid: str = Field(default="", pattern=r"^((GPU|MIG)-[0-9A-Za-z/-]+)?$")
    name: str = Field(default="", max_length=60)

    @property
    def units(self) -> int:
        return self.vram_mb // VRAM_UNIT_MB

    def __str__(self) -> str:
        return " ".join(filter(None, (f"GPU {self.index}", self.name and f"({self.name})")))


def units_of(gpu: int, count: int) -> range:
    """The numbers of a GPU's first `count` units."""
    first = gpu * _NUMBERS_PER_GPU
    return range(first, first + count)


def gpu_of(unit: int) -> int:
    return unit // _NUMBERS_PER_GPU


def gpu_of_first_unit(units: sa.ColumnElement[Any]) -> sa.ColumnElement[int | None]:
    """As `gpu_of`, of a row's units in the database."""
    return units[1] // _NUMBERS_PER_GPU


def place_of(unit: int) -> tuple[int, int]:
    """A unit's GPU, and its number there."""
    return divmod(unit, _NUMBERS_PER_GPU)


def as_given(value: Any) -> list[Any]:
    """What somebody wrote, as one mapping for each GPU: "16000,24000", a list of MB, or of mappings, also as JSON.

    Where no index is given it is the place in the list. Raises ValueError.
    """
    entries = _from_text(value) if isinstance(value, str) else [value] if isinstance(value, int) else value
    if isinstance(entries, Mapping) or not isinstance(entries, Sequence):
        raise ValueError(f"{_EXPECTED}, got {value!r}")
    return [_entry(position, entry) for position, entry in enumerate(entries)]


def _from_text(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError(f"is no JSON: {text!r}") from None
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{_EXPECTED}, got {text!r}")
    return [int(part) for part in parts]


def _entry(position: int, entry: Any) -> Any:
    if isinstance(entry, int) and not isinstance(entry, bool):
        return {"index": position, "vram_mb": entry}
    if isinstance(entry, Mapping):
        return {"index": position, **entry}
    if isinstance(entry, Device):
        return entry
    raise ValueError(f"{_EXPECTED}, or {{vram_mb: 16000, uuid: GPU-…}} for each; got {entry!r}")


def named_once(devices: Sequence[Device]) -> Sequence[Device]:
    """Raises ValueError where two are the same."""
    for what in ("index", "uuid"):
        names = [getattr(device, what) for device in devices if getattr(device, what) != ""]
        if twice := sorted({str(name) for name in names if names.count(name) > 1}):
            raise ValueError(f"two GPUs have the {what} {', '.join(twice)}")
    return devices


def as_json(devices: Sequence[Device]) -> str:
    return json.dumps([device.model_dump(exclude_defaults=True) for device in devices])
