"""Weights that packages carry: where they lie, whether they are what `weights.lock` says, what is made of them once.

Nothing here imports the packages: that alone would load frameworks.
"""

import functools
import hashlib
import importlib.util
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.ai.errors import EngineUnavailable
from media_pipelines.media import files

_LOCK = Path(__file__).with_name("weights.lock")


@dataclass(frozen=True)
class Weight:
    """One entry of the lock. `file` is relative to the package's folder."""

    name: str
    roles: tuple[str, ...]
    distribution: str
    module: str
    file: str
    sha256: str
    licence: str
    model: str

    def path(self) -> Path:
        """Raises EngineUnavailable where the package, or the file in it, is missing."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise EngineUnavailable(f"packaged:{self.name}", f"the package {self.distribution} is not installed")
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        if not path.is_file():
            raise EngineUnavailable(f"packaged:{self.name}", f"{self.distribution} lacks {self.file}")
        return path

    def checked(self) -> Path:
        """The path of a file that is what the lock says. Raises EngineUnavailable."""
        path = self.path()
        found = sha256_of(path)
        if found != self.sha256:
            reason = (
                f"{path.name} is damaged or another: its sha256 is {found[:12]}…, the lock says {self.sha256[:12]}…"
            )
            raise EngineUnavailable(f"packaged:{self.name}", reason)
        return path


@functools.cache
def locked() -> Mapping[str, Weight]:
    content = tomllib.loads(_LOCK.read_text())
    return {name: Weight(name, tuple(entry.pop("roles")), **entry) for name, entry in content.items()}


def sha256_of(path: Path) -> str:
    """Remembered for as long as the file is not touched."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, size_bytes: int, mtime_ns: int) -> str:
    del size_bytes, mtime_ns
    return files.sha256(path)


def converted(folder: Path, name: str, sha256: str, version: int, write: Callable[[Path], None]) -> Path:
    """What `write` makes of a weight, made once and kept; made again where it is damaged."""
    target = folder / f"{name}-{sha256[:12]}-v{version}.onnx"
    seal = target.with_suffix(".sha256")
    if target.is_file() and seal.is_file() and seal.read_text() == sha256_of(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = files.partial_path(target, str(os.getpid()))
    try:
        write(partial)
        sealed = files.partial_path(seal, str(os.getpid()))
        sealed.write_text(files.sha256(partial))
        files.publish(partial, target, replace=True)
        files.publish(sealed, seal, replace=True)
    finally:
        files.remove_quietly(partial)
    return target


def of(role: str, name: str) -> list[Weight]:
    """The weights behind a packaged reference: its own, or all those of an engine that has several."""
    return [
        one for one in locked().values() if role in one.roles and one.name.partition("-")[0] == name.partition("-")[0]
    ]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def why_not_loaded(error: Exception) -> str:
    """The first line of what a framework said, which may be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"it cannot be loaded ({type(error).__name__}: {lines[0][:200] if lines else 'no reason given'})"
