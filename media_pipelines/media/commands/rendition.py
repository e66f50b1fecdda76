"""One video, encoded anew: a plan as ffmpeg's arguments."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from media_pipelines.media.commands.arguments import given, mapped, named, tone_mapped
from media_pipelines.media.encoder_flags import flags, upload
from media_pipelines.media.encoders import EXACT_TIMES, Way, device, hardware_decoding
from media_pipelines.media.plan import EncodePlan, TrackPlan, VideoPlan
from media_pipelines.media.probe import Probe, Stream

MAX_FPS = 120
# Codecs of cover art, as attachments: their MIME type and extension.
COVERS = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png")}
# By the names of codecs, where ffmpeg's encoder is called differently.
_AUDIO_ENCODERS = {"opus": "libopus", "mp3": "libmp3lame", "vorbis": "libvorbis"}
_SUBTITLE_ENCODERS = {"subrip": "srt"}
# What the codecs hold; a source may have 192 kHz.
_MAX_SAMPLE_RATES_HZ = {"aac": 48_000, "ac3": 48_000, "eac3": 48_000, "mp3": 48_000}
_OPUS_LAYOUTS = "7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
_CONTAINERS = {
    "mp4": ("-movflags", "+faststart", "-f", "mp4"),
    "matroska": ("-f", "matroska"),
    "webm": ("-f", "webm"),
}


def encode(
    ffmpeg: Path, source: Probe, output: Path, plan: EncodePlan, way: Way, covers: Sequence[Path] = ()
) -> list[str]:
    """What carries out a plan. Rotation is applied where the picture is encoded, the pixel aspect and the frame times
    are kept, chapters and metadata come along. `covers` are the files that hold `loose_covers(plan)`, in their order.
    """
    video, loose = plan.video, loose_covers(plan)
    attached = [stream for stream in plan.attachments if stream not in loose]
    return [
        str(ffmpeg),
        "-y",
        *device(way.encoder.name),
        *(hardware_decoding(way.encoder.name) if way.hardware_decode else []),
        *([] if video else ["-fflags", "+genpts"]),
        *given(source.path),
        "-map", f"0:{source.video_index}",
        *mapped([track.stream for track in (*plan.audio, *plan.subtitles)]),
        *mapped(attached),
        "-map_metadata", "0",
        "-map_chapters", "0",
        *(picture(source, video, way) if video else ["-c:v:0", "copy"]),
        *_tagged(source, plan),
        *_audio(plan.audio),
        *_subtitles(plan.subtitles),
        *_attached(attached),
        *_attached_files(loose, covers, after=len(attached)),
        # A subtitle every few minutes must not make the muxer give up.
        "-max_muxing_queue_size", "4096",
        *_CONTAINERS[plan.container],
        named(output),
    ]  # fmt: skip


def loose_covers(plan: EncodePlan) -> tuple[Stream, ...]:
    """Cover art that must be a file of its own before it can be attached: mapped into Matroska as the stream that
    ffmpeg reads it as, it would become a second video track."""
    return tuple(stream for stream in plan.attachments if stream.is_cover) if plan.container == "matroska" else ()


def cover(ffmpeg: Path, source: Probe, stream: Stream, output: Path) -> list[str]:
    """The picture file that a stream of cover art is, as it is."""
    return [
        str(ffmpeg),
        "-y",
        *given(source.path),
        "-map", f"0:{stream.index}",
        "-c", "copy",
        "-frames:v", "1",
        "-f", "rawvideo",
        named(output),
    ]  # fmt: skip


def decode_all(ffmpeg: Path, path: Path, plan: EncodePlan) -> list[str]:
    """Every frame of picture and sound, kept nowhere; of a copied picture only the sound that was encoded, since the
    rest is as it was in the source. The first that does not decode ends it with an error."""
    encoded = [n for n, track in enumerate(plan.audio) if track.codec]
    maps = ["0:v:0", "0:a?"] if plan.video else [f"0:a:{n}" for n in encoded]
    return [
        str(ffmpeg),
        "-xerror",
        *given(path),
        *(argument for one in maps for argument in ("-map", one)),
        "-f", "null",
        "-",
    ]  # fmt: skip


def picture(source: Probe, video: VideoPlan, way: Way) -> list[str]:
    """The filters and the encoder of the one video stream."""
    chain = [*filters(source, video, way.tone_map), *upload(way.encoder.name, ten_bit=video.ten_bit)]
    return [
        *(["-filter:v:0", ",".join(chain)] if chain else []),
        *flags(way.encoder.name, video, source.hdr10 if video.hdr == "keep" else None),
        *(EXACT_TIMES if way.exact_times else ()),
    ]


def filters(source: Probe, video: VideoPlan, tone_map: Sequence[str] = ()) -> list[str]:
    """What turns a decoded picture into the planned one, in memory."""
    return [
        *(["bwdif=mode=send_frame:deint=interlaced"] if video.deinterlace else []),
        *_sane_rate(source),
        *_sized(source, video),
        *(tone_mapped(source, tone_map) if video.hdr == "tonemap" and tone_map else []),
    ]


def _sized(source: Probe, video: VideoPlan) -> list[str]:
    """YUV 4:2:0 wants even sizes. Cropping a line keeps every other pixel as it was; scaling would blur all."""
    whole = (max(2, source.width // 2 * 2), max(2, source.height // 2 * 2))
    # RGB becomes YUV here, and says so: left alone it would become BT.601 that nothing marks as such.
    matrix = ["out_color_matrix=bt709", "out_range=tv"] if source.color.matrix == "gbr" else []
    if (video.width, video.height) != whole:
        sar = _sar(source, video)
        options = [f"w={video.width}", f"h={video.height}", "flags=bicubic", *matrix]
        return ["scale=" + ":".join(options), f"setsar={sar.numerator}/{sar.denominator}"]
    if (source.width, source.height) == whole:
        return ["scale=" + ":".join(matrix)] if matrix else []
    even = ["scale=" + ":".join(["w='max(2,iw)'", "h='max(2,ih)'", *matrix])]
    return [*even, "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"]


def _sar(source: Probe, video: VideoPlan) -> Fraction:
    """The shape of the scaled pixels: what shows the same picture, rounded to square or to the source's where that is
    what was meant."""
    exact = source.width * source.sar / source.height * video.height / video.width
    rounding = Fraction(2, video.width) + Fraction(2, video.height)
    for usual in (Fraction(1), source.sar):
        if abs(exact / usual - 1) < rounding:
            return usual
    return exact.limit_denominator(255)


def _sane_rate(source: Probe) -> list[str]:
    """Frame times are kept as they are, unless a wrong time base claims thousands of frames a second. (Not `-fpsmax`,
    which makes every output constant and doubles the frames of a screen recording.)"""
    return [f"fps={MAX_FPS}"] if source.fps and source.fps > MAX_FPS else []


def _tagged(source: Probe, plan: EncodePlan) -> list[str]:
    """Apple's players open HEVC in MP4 under this tag only."""
    codec = plan.video.codec if plan.video else source.video_codec
    return ["-tag:v:0", "hvc1"] if codec == "hevc" and plan.container == "mp4" else []


def _audio(tracks: Sequence[TrackPlan]) -> list[str]:
    """The first track becomes the default one; whatever else the source says of its tracks is kept."""
    arguments = []
    for n, track in enumerate(tracks):
        arguments += _audio_track(n, track) if track.codec else [f"-c:a:{n}", "copy"]
        arguments += [f"-disposition:a:{n}", "+default" if n == 0 else "-default"]
    return arguments


def _audio_track(n: int, track: TrackPlan) -> list[str]:
    assert track.codec is not None
    stream, limit_hz = track.stream, _MAX_SAMPLE_RATES_HZ.get(track.codec)
    # Gaps in broken timestamps become silence, so that sound and picture stay together.
    chain = ["aresample=async=1", *([f"aformat=channel_layouts={_OPUS_LAYOUTS}"] if track.codec == "opus" else [])]
    arguments = [f"-c:a:{n}", _AUDIO_ENCODERS.get(track.codec, track.codec), f"-filter:a:{n}", ",".join(chain)]
    if track.bitrate_kbps:
        arguments += [f"-b:a:{n}", f"{track.bitrate_kbps}k"]
    if track.channels and track.channels != stream.channels:
        arguments += [f"-ac:a:{n}", str(track.channels)]
    if limit_hz and (stream.sample_rate_hz or 0) > limit_hz:
        arguments += [f"-ar:a:{n}", str(limit_hz)]
    return arguments


def _subtitles(tracks: Sequence[TrackPlan]) -> list[str]:
    arguments = []
    for n, track in enumerate(tracks):
        arguments += [f"-c:s:{n}", _SUBTITLE_ENCODERS.get(track.codec, track.codec) if track.codec else "copy"]
    return arguments


def _attached_files(streams: Sequence[Stream], files: Sequence[Path], *, after: int) -> list[str]:
    """Named as Matroska wants a cover to be named, so that players find it."""
    arguments = []
    for n, (stream, file) in enumerate(zip(streams, files, strict=True)):
        kind, suffix = COVERS[stream.codec]
        name = f"cover{n or ''}.{suffix}"
        tags = [f"-metadata:s:t:{after + n}", f"mimetype={kind}", f"-metadata:s:t:{after + n}", f"filename={name}"]
        arguments += ["-attach", named(file), *tags]
    return arguments


def _attached(streams: Sequence[Stream]) -> list[str]:
    """Fonts and the like; and cover art, which is a video stream beside the one that is shown."""
    covers = [stream for stream in streams if stream.kind == "video"]
    arguments = ["-c:t", "copy"] if len(covers) < len(streams) else []
    for n in range(1, len(covers) + 1):
        arguments += [f"-c:v:{n}", "copy", f"-disposition:v:{n}", "attached_pic"]
    return arguments
