"""Whether a result is what was asked for. `problems` decides, purely; the rest reads the file it decides about."""

from dataclasses import replace
from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.ffmpeg import Progress
from media_pipelines.media.plan import EncodePlan
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober

_DECODED_FRAMES = 5
_PROJECTED_AFTER_S, _PROJECTED_FROM_PERCENT, _PROJECTED_MARGIN = 20.0, 5.0, 1.5
# Recordings whose clock may start anew in the middle.
_JUMPING = {"mpegts", "mpeg"}
# Sources are not held to the half second that outputs are.
_PIECE_TOLERANCE_S = 2.0


def problems(
    output: Probe,
    *,
    expect_duration_s: float | None,
    expect_picture_s: float | None = None,
    expect_audio_streams: int,
) -> tuple[str, ...]:
    """What is wrong with a joined file, in words; empty when nothing is. A duration of None is not compared.
    `expect_picture_s` is for the video stream alone: a picture that ends early under sound that goes on is wrong."""
    found = [
        _duration_problem("it lasts", output.duration_s, expect_duration_s),
        _duration_problem("its picture lasts", _picture_end_s(output), expect_picture_s),
        _count_problem("audio tracks", len(output.of_kind("audio")), expect_audio_streams),
    ]
    return tuple(problem for problem in found if problem is not None)


def verify_encode(prober: Prober, source: Probe, plan: EncodePlan, output_path: Path) -> Probe:
    """Read a new file back: it opens, frames decode up to its end, it lasts as long as its source, it has the planned
    codec and size, and every stream that the plan keeps is there.

    Raises OutputRejected; or UnreadableMedia for the source, where its own damage is why the output is short.
    """
    output = _read_back(prober, output_path)
    found = _length_problems(source, plan, output)
    if found and source.container in _JUMPING:
        found = _length_problems(_measured(prober, source), plan, output)
    if found:
        # Is it the source that is broken? Then its own error says what a person needs to know.
        prober.probe(source.path, decode_frames=_DECODED_FRAMES)
    found += _content_problems(source, plan, output)
    if found:
        raise errors.OutputRejected(output_path, found)
    return output


def _length_problems(source: Probe, plan: EncodePlan, output: Probe) -> tuple[str, ...]:
    """Picture and each sound end when theirs do. Subtitles are not asked: one that is shown for long may outlast all.
    Where the source is silent about one stream, the duration of the whole counts."""
    sounds = [source.streams[track.stream.index] for track in plan.audio]
    wanted = [source.end_s(stream) for stream in (source.video, *sounds)]
    made = [_picture_end_s(output), *(output.end_s(stream) for stream in output.of_kind("audio"))]
    known = [end for end in made if end]
    expected = max((end for end in wanted if end), default=None) if all(wanted) else source.duration_s
    found = [
        _duration_problem("it lasts", max(known, default=output.duration_s), expected),
        _duration_problem("its picture lasts", made[0], wanted[0]),
        *(
            _shorter_problem(f"its audio track {n} lasts", end, wanted_s)
            for n, (end, wanted_s) in enumerate(zip(made[1:], wanted[1:], strict=False), 1)
        ),
    ]
    return tuple(problem for problem in found if problem is not None)


def _content_problems(source: Probe, plan: EncodePlan, output: Probe) -> tuple[str, ...]:
    video = plan.video
    fonts = sum(stream.kind == "attachment" for stream in plan.attachments)
    found = [
        _count_problem("audio tracks", len(output.of_kind("audio")), len(plan.audio)),
        _count_problem("subtitle tracks", len(output.of_kind("subtitle")), len(plan.subtitles)),
        _count_problem("attachments", len(output.of_kind("attachment")), fonts),
        _count_problem("covers", *(sum(s.is_cover for s in streams) for streams in (output.streams, plan.attachments))),
        "its chapters are lost" if source.chapters and not output.chapters else None,
        _codec_problem(output, video.codec if video else source.video_codec),
        _size_problem(output, (video.width, video.height) if video else (source.width, source.height)),
    ]
    return tuple(problem for problem in found if problem is not None)


def _measured(prober: Prober, source: Probe) -> Probe:
    """The source with the lengths that its packets add up to: where times jump, ffmpeg closes the gaps."""
    seconds = prober.measure(source.path)
    streams = tuple(replace(stream, start_s=0.0, duration_s=seconds.get(stream.index)) for stream in source.streams)
    return replace(source, duration_s=max(seconds.values(), default=None), streams=streams)


def require_size(path: Path, progress: Progress, elapsed_s: float, limit_bytes: int | None) -> None:
    """Raises ResultTooLarge once an encode has passed its limit, or is plain to pass it: told after a while only, and
    by a margin, because the rest of a film may be easier than its beginning."""
    if limit_bytes is None:
        return
    if progress.size_bytes > limit_bytes:
        raise errors.ResultTooLarge(path, progress.size_bytes, limit_bytes)
    percent = progress.percent or 0
    if elapsed_s < _PROJECTED_AFTER_S or percent < _PROJECTED_FROM_PERCENT:
        return
    projected = round(progress.size_bytes * 100 / percent)
    if projected > _PROJECTED_MARGIN * limit_bytes:
        raise errors.ResultTooLarge(path, projected, limit_bytes, projected=True)


def is_damage(line: str) -> bool:
    """Whether a line of ffmpeg, at our log level, says that something did not decode."""
    return "[error]" in line or "[fatal]" in line


def verify_piece(prober: Prober, source: Probe, piece_path: Path) -> None:
    """That a piece of a compilation shows its source to the end: joined, a missing part would only be a picture that
    stands still. Raises OutputRejected, naming the source."""
    piece = prober.probe(piece_path)
    shown_s = piece.video.duration_s or piece.duration_s or 0.0
    if source.duration_s and shown_s < source.duration_s - max(_PIECE_TOLERANCE_S, 0.005 * source.duration_s):
        found = f"its picture ends at {shown_s:.2f} s, but it says that it lasts {source.duration_s:.2f} s"
        raise errors.OutputRejected(source.path, (found,))


def verify_joined(
    prober: Prober, output_path: Path, *, expect_duration_s: float | None, has_audio: bool, copied: bool = False
) -> Probe:
    """The same for a file joined from several; of copied frames, only a few are decoded. Raises OutputRejected."""
    output = _read_back(prober, output_path, decode_end=not copied)
    found = problems(
        output,
        expect_duration_s=expect_duration_s,
        expect_picture_s=expect_duration_s,
        expect_audio_streams=1 if has_audio else 0,
    )
    if found:
        raise errors.OutputRejected(output_path, found)
    return output


def shown_ms(path: Path) -> list[float]:
    """How long each frame of an animated picture is shown; all of them decode. Raises OutputRejected."""
    from PIL import Image, UnidentifiedImageError

    shown = []
    try:
        with Image.open(path) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()
                shown.append(float(image.info.get("duration", 0)))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise errors.OutputRejected(path, (f"it is not a whole animation: {error}",)) from error
    return shown


def verify_image(path: Path) -> tuple[int, int]:
    """The width and height of an image that decodes completely. Raises OutputRejected."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise errors.OutputRejected(path, (f"it is not a whole image: {error}",)) from error


def _read_back(prober: Prober, path: Path, *, decode_end: bool = True) -> Probe:
    try:
        return prober.probe(path, decode_frames=_DECODED_FRAMES, decode_end=decode_end)
    except errors.ProbeTimedOut:
        raise
    except errors.MediaError as error:
        raise errors.OutputRejected(path, (str(error),)) from error


def _picture_end_s(output: Probe) -> float | None:
    return output.end_s(output.video) or output.duration_s


def tolerance_s(duration_s: float) -> float:
    """Half a second, or half a percent of a long video."""
    return max(0.5, 0.005 * duration_s)


def _duration_problem(what: str, actual_s: float | None, expect_s: float | None) -> str | None:
    if not actual_s:
        return f"{what} for an unknown time"
    if expect_s is None or abs(actual_s - expect_s) <= tolerance_s(expect_s):
        return None
    return f"{what} {actual_s:.2f} s instead of {expect_s:.2f} s"


def _shorter_problem(what: str, actual_s: float | None, expect_s: float | None) -> str | None:
    if not actual_s or not expect_s or actual_s >= expect_s - tolerance_s(expect_s):
        return None
    return f"{what} {actual_s:.2f} s instead of {expect_s:.2f} s"


def _count_problem(what: str, actual: int, expected: int) -> str | None:
    return None if actual == expected else f"it has {actual} {what} instead of {expected}"


def _codec_problem(output: Probe, expected: str) -> str | None:
    if output.video_codec == expected:
        return None
    return f"its video is {output.video_codec} instead of {expected}"


def _size_problem(output: Probe, expected: tuple[int, int]) -> str | None:
    if expected == (output.width, output.height):
        return None
    return f"it shows {output.width}×{output.height} instead of {expected[0]}×{expected[1]}"
