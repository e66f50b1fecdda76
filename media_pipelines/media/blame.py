"""Whose fault it is when an output is not what was asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from media_pipelines.media import errors
from media_pipelines.media.probe import Probe, Prober

_DECODED_FRAMES = 5


@contextmanager
def blaming_sources(prober: Prober, sources: Sequence[Probe]) -> Iterator[None]:
    """Where work on sources fails or its output is rejected, they are looked at more closely than before: one that is
    damaged is the error then, by its own name. Nothing is decoded as long as all goes well."""
    try:
        yield
    except errors.OutputRejected as error:
        _raise_fault(prober, sources, error)
        raise
    except errors.FfmpegFailed as error:
        if error.exit_code > 0 and not error.disk_full and error.kind != "capacity":
            _raise_fault(prober, sources, error)
        raise


def _raise_fault(prober: Prober, sources: Sequence[Probe], error: errors.MediaError) -> None:
    for path in dict.fromkeys(source.path for source in sources):
        try:
            prober.probe(path, decode_frames=_DECODED_FRAMES)
        except errors.MediaError as fault:
            if fault.kind == "permanent":
                raise fault from error
