"""Whether a result is what was asked for. `problems` decides, purely; the rest reads the file it decides about."""

from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.commands.rendition import kept_audio, kept_subtitles
from media_pipelines.media.probe import Probe, Prober

_DECODED_FRAMES = 5
_SIZE_TOLERANCE_PX = 2
# Sources are not held to the half second that outputs are.
_PIECE_TOLERANCE_S = 2.0


def problems(
    source: Probe,
    output: Probe,
    *,
    expect_duration_s: float | None,
    expect_picture_s: float | None = None,
    expect_audio_streams: int,
    expect_subtitles: int = 0,
    expect_codec: str | None = None,
    same_size: bool = True,
) -> tuple[str, ...]:
    """What is wrong with `output`, in words; empty when nothing is. A duration of None is not compared.
    `expect_picture_s` is for the video stream alone: a picture that ends early under sound that goes on is wrong."""
    found = [
        _duration_problem("it lasts", output.duration_s, expect_duration_s),
        _duration_problem("its picture lasts", output.video.duration_s or output.duration_s, expect_picture_s),
        _count_problem("audio tracks", len(output.of_kind("audio")), expect_audio_streams),
        _count_problem("subtitle tracks", len(output.of_kind("subtitle")), expect_subtitles),
        _codec_problem(output, expect_codec),
        _size_problem(source, output) if same_size else None,
    ]
    return tuple(problem for problem in found if problem is not None)


def verify_rendition(prober: Prober, source: Probe, output_path: Path) -> Probe:
    """Read a re-encoded file back: it opens, frames decode up to its end, it lasts as long as its source, and every
    stream that `commands.rendition.reencode` keeps is there. Raises OutputRejected."""
    output = _read_back(prober, output_path)
    found = problems(
        source,
        output,
        expect_duration_s=_expected_duration_s(source),
        expect_picture_s=source.video.duration_s,
        expect_audio_streams=len(kept_audio(source)),
        expect_subtitles=len(kept_subtitles(source)),
        expect_codec="h264",
    )
    if found:
        raise errors.OutputRejected(output_path, found)
    return output


def verify_piece(prober: Prober, source: Probe, piece_path: Path) -> None:
    """That a piece of a compilation shows its source to the end: joined, a missing part would only be a picture that
    stands still. Raises OutputRejected, naming the source."""
    piece = prober.probe(piece_path)
    shown_s = piece.video.duration_s or piece.duration_s or 0.0
    if source.duration_s and shown_s < source.duration_s - max(_PIECE_TOLERANCE_S, 0.005 * source.duration_s):
        found = f"its picture ends at {shown_s:.2f} s, but it says that it lasts {source.duration_s:.2f} s"
        raise errors.OutputRejected(source.path, (found,))


def verify_joined(prober: Prober, output_path: Path, *, expect_duration_s: float | None, has_audio: bool) -> Probe:
    """The same for a file joined from several. Raises OutputRejected."""
    output = _read_back(prober, output_path)
    found = problems(
        output,
        output,
        expect_duration_s=expect_duration_s,
        expect_picture_s=expect_duration_s,
        expect_audio_streams=1 if has_audio else 0,
    )
    if found:
        raise errors.OutputRejected(output_path, found)
    return output


def verify_image(path: Path) -> tuple[int, int]:
    """The width and height of an image that decodes completely. Raises OutputRejected."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise errors.OutputRejected(path, (f"it is not a whole image: {error}",)) from error


def _read_back(prober: Prober, path: Path) -> Probe:
    try:
        return prober.probe(path, decode_frames=_DECODED_FRAMES)
    except errors.ProbeTimedOut:
        raise
    except errors.MediaError as error:
        raise errors.OutputRejected(path, (str(error),)) from error


def _expected_duration_s(source: Probe) -> float | None:
    """How long the kept streams last: a dropped picture subtitle may run longer than sound and picture."""
    kept = (source.video, *kept_audio(source), *kept_subtitles(source))
    lengths = [stream.duration_s for stream in kept if stream.duration_s]
    return max(lengths) if len(lengths) == len(kept) else source.duration_s


def tolerance_s(duration_s: float) -> float:
    """Half a second, or half a percent of a long video."""
    return max(0.5, 0.005 * duration_s)


def _duration_problem(what: str, actual_s: float | None, expect_s: float | None) -> str | None:
    if not actual_s:
        return f"{what} for an unknown time"
    if expect_s is None or abs(actual_s - expect_s) <= tolerance_s(expect_s):
        return None
    return f"{what} {actual_s:.2f} s instead of {expect_s:.2f} s"


def _count_problem(what: str, actual: int, expected: int) -> str | None:
    return None if actual == expected else f"it has {actual} {what} instead of {expected}"


def _codec_problem(output: Probe, expected: str | None) -> str | None:
    if expected is None or output.video_codec == expected:
        return None
    return f"its video is {output.video_codec} instead of {expected}"


def _size_problem(source: Probe, output: Probe) -> str | None:
    wider, higher = abs(source.width - output.width), abs(source.height - output.height)
    if max(wider, higher) < _SIZE_TOLERANCE_PX:
        return None
    return f"it shows {output.width}×{output.height} instead of {source.width}×{source.height}"
