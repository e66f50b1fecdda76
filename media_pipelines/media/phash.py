"""A hash of what a video shows, that survives re-encoding: 64 bits for each of up to 25 key frames.

Each is the DCT hash that the ImageHash library calls phash: the signs of the low frequencies of a grey 32×32 picture
against their median. Source of the number of frames and of where they lie: field notes on video duplicates.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.media import errors
from media_pipelines.media.containers import open_only_video
from media_pipelines.media.prober import Prober

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_FRAMES = 25
_FIRST, _LAST = 0.05, 0.95
SIDE, _LOW = 32, 8
_DIGITS = 16
# Black, white and fades: the standard deviation of their grey values (0-255) is below this.
_BLANK_BELOW = 6.0
_PACKETS_PER_FRAME = 500


def of(prober: Prober, path: Path) -> str:
    """Hexadecimal, 16 digits a frame, in the order of the frames; empty where no frame shows anything.

    Raises UnreadableMedia, ProbeTimedOut or ProbeCrashed.
    """
    import numpy as np  # noqa: F401 - before the worker is forked

    return str(prober.run(path, read))


def read(path_text: str) -> str:
    """What the worker does."""
    import av

    try:
        with open_only_video(path_text) as container:
            pictures = [picture for picture in _pictures(container) if picture.std() >= _BLANK_BELOW]
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        raise errors.UnreadableMedia(Path(path_text), str(error)) from error
    return "".join(f"{hash_of(picture):016x}" for picture in pictures)


def frames(text: str) -> list[int]:
    """The hash of each frame of what `of` returned."""
    return [int(text[at : at + _DIGITS], 16) for at in range(0, len(text), _DIGITS)]


def distance(one: list[int], other: list[int]) -> float:
    """Of 64 bits, how many differ: the median over the frames of the video with fewer of them, each beside the frame
    of the other that is nearest to it. Two encoders do not choose the same key frames."""
    fewer, more = sorted((one, other), key=len)
    nearest = sorted(min((a ^ b).bit_count() for b in more) for a in fewer)
    return float(nearest[len(nearest) // 2])


def _pictures(container: "InputContainer") -> Iterator[Any]:
    """Grey 32×32 pictures of key frames spread over the video, each once."""
    video = _video(container)
    if video is None or not container.duration or not video.time_base:
        return
    video.codec_context.skip_frame = "NONKEY"
    video.codec_context.thread_count = 1
    start_s, duration_s = (container.start_time or 0) / 1e6, container.duration / 1e6
    seen: set[int | None] = set()
    for n in range(_FRAMES):
        at_s = start_s + duration_s * (_FIRST + (_LAST - _FIRST) * n / (_FRAMES - 1))
        container.seek(round(at_s / video.time_base), stream=video, backward=True)
        frame = _next_frame(container, video)
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame.reformat(width=SIDE, height=SIDE, format="gray").to_ndarray().astype(float)


def _video(container: "InputContainer") -> "VideoStream | None":
    from av.stream import Disposition

    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    return streams[0] if streams else None


def _next_frame(container: "InputContainer", video: "VideoStream") -> Any:
    import av

    for n, packet in enumerate(container.demux(video)):
        try:
            for frame in packet.decode():
                return frame
        except av.InvalidDataError:
            pass
        if n >= _PACKETS_PER_FRAME:
            return None
    return None


def hash_of(picture: Any) -> int:
    """64 bits of a grey picture of `SIDE`×`SIDE`."""
    import numpy as np

    n = np.arange(SIDE)
    cosines = np.cos(np.pi * (2 * n[None, :] + 1) * n[:_LOW, None] / (2 * SIDE))
    low = (cosines @ picture @ cosines.T).flatten()
    bits = low > np.median(low[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)
