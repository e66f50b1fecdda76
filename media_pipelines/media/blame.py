"""Whose fault it is when an output is not what was asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from media_pipelines.media import errors, verify
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.replace import Identity

_DECODED_FRAMES = 5


@contextmanager
def unchanged(paths: Iterable[Path]) -> Iterator[None]:
    """What is made of files within the block is made of what they are now, or nobody gets it; a file that is removed
    meanwhile was read to its end all the same. Raises SourceChanged, also in place of what failed for that reason."""
    before = {path: _identity(path) for path in paths}
    try:
        yield
    except (errors.FfmpegFailed, errors.OutputRejected, errors.UnreadableMedia) as error:
        _require_unchanged(before, error)
        raise
    _require_unchanged(before, None)


def _require_unchanged(before: dict[Path, Identity | None], cause: Exception | None) -> None:
    for path, identity in before.items():
        now = _identity(path)
        if now is not None and now != identity:
            raise errors.SourceChanged(path) from cause


def _identity(path: Path) -> Identity | None:
    try:
        return Identity.of(path.stat())
    except OSError:
        return None


class Witness:
    """Hears what ffmpeg says."""

    def __init__(self) -> None:
        self.heard_damage = False

    def beside(self, on_line: Callable[[str], None]) -> Callable[[str], None]:
        """Hears each line that the other gets."""

        def hear(line: str) -> None:
            on_line(line)
            self.heard_damage = self.heard_damage or verify.is_damage(line)

        return hear


@contextmanager
def blaming_sources(prober: Prober, sources: Sequence[Probe]) -> Iterator[Witness]:
    """Where work on sources fails, its output is rejected or the witness hears of damage, they are looked at more
    closely than before: one that is damaged is the error then, by its own name. Nothing is decoded as long as all goes
    well. One that changes within the block is an error in any case."""
    witness = Witness()
    try:
        with unchanged(source.path for source in sources):
            yield witness
        if witness.heard_damage:
            _raise_fault(prober, sources, None)
    except errors.OutputRejected as error:
        _raise_fault(prober, sources, error)
        raise
    except errors.FfmpegFailed as error:
        if error.exit_code > 0 and not error.disk_full and error.kind != "capacity":
            _raise_fault(prober, sources, error)
        raise


def _raise_fault(prober: Prober, sources: Sequence[Probe], error: errors.MediaError | None) -> None:
    for path in dict.fromkeys(source.path for source in sources):
        try:
            prober.probe(path, decode_frames=_DECODED_FRAMES)
        except errors.MediaError as fault:
            if fault.kind == "permanent":
                raise fault from error
