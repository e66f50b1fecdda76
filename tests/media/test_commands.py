import dataclasses
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from media_pipelines.media import errors, streaming, verify
from media_pipelines.media.commands.pictures import thumbnail
from media_pipelines.media.commands.pieces import concat_copy, concat_list
from media_pipelines.media.commands.rendition import decode_all, encode
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.plan import Crf, EncodePlan, TrackPlan
from media_pipelines.media.probe import Probe, Stream
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips
from tests.media.test_probe import STRANGE_NAMES

NVENC = Encoder("h264_nvenc", hardware=True, reason="a test encode succeeded")


def _value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def _plan(source: Probe, crf: int = 23, preset: str = "ultrafast") -> EncodePlan:
    return streaming.rendition(source, quality=Crf(crf), preset=preset, max_bitrate_kbps=2000)


def _reencode(ffmpeg: Path, source: Probe, output: Path, encoder: Encoder, crf: int = 23) -> list[str]:
    return encode(ffmpeg, source, output, _plan(source, crf), Way(encoder))


def _verified(prober: Prober, source: Probe, output: Path) -> Probe:
    return verify.verify_encode(prober, source, _plan(source), output)


@pytest.mark.parametrize(
    "name", ["plain", "silent", "odd", "rotated", "anamorphic", "rich", "vp9", "matroska", "faststart"]
)
def test_every_kind_of_source_becomes_a_verified_rendition(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder, name: str
) -> None:
    source = prober.probe(getattr(clips, name), decode_frames=5)
    output = tmp_path / "out.partial.mp4"
    warnings: list[str] = []
    run(_reencode(ffmpeg, source, output, x264), duration_s=source.duration_s, on_line=warnings.append)
    rendition = _verified(prober, source, output)
    assert (rendition.video_codec, rendition.pix_fmt, rendition.rotation) == ("h264", "yuv420p", 0)
    assert (rendition.width, rendition.height) == (source.width // 2 * 2, source.height // 2 * 2)
    assert rendition.sar == source.sar
    assert rendition.fps == pytest.approx(source.fps, rel=0.02)
    assert rendition.audio_codec == ("aac" if source.has_audio else None)
    assert [line for line in warnings if "deprecated" in line.lower()] == []
    assert output.read_bytes().find(b"moov") < output.read_bytes().find(b"mdat")


def test_tracks_languages_subtitles_and_titles_are_kept(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    source = prober.probe(clips.rich)
    output = tmp_path / "out.mp4"
    run(_reencode(ffmpeg, source, output, x264), duration_s=1)
    streams = prober.probe(output).streams
    assert [stream.kind for stream in streams] == ["video", "audio", "audio", "subtitle"]
    assert [stream.language for stream in streams[1:3]] == ["eng", "deu"]
    assert [stream.channels for stream in streams[1:3]] == [1, 6]
    assert [stream.is_default for stream in streams[1:3]] == [True, False]
    assert [stream.sample_rate_hz for stream in streams[1:3]] == [48000, 48000]
    assert streams[3].codec == "mov_text"
    assert _plan(source).dropped == ("stream 4 (attachment, unknown): MP4 does not hold it",)


def test_picture_subtitles_and_cover_art_are_dropped_with_a_reason(plain: Probe) -> None:
    extra = (
        Stream(2, "subtitle", "hdmv_pgs_subtitle"),
        Stream(3, "video", "mjpeg", is_cover=True),
        Stream(4, "audio", "unknown"),
        Stream(5, "data", "bin_data"),
    )
    source = dataclasses.replace(plain, streams=plain.streams + extra)
    reasons = _plan(source).dropped
    assert [reason.split(":")[0].split()[1] for reason in reasons] == ["2", "3", "4", "5"]
    assert len(_plan(source).audio) == 1


def test_libx264_gets_a_crf_and_a_cap(ffmpeg: Path, plain: Probe, tmp_path: Path, x264: Encoder) -> None:
    command = _reencode(ffmpeg, plain, tmp_path / "o.mp4", x264)
    assert _value(command, "-crf") == "23"
    assert (_value(command, "-maxrate"), _value(command, "-bufsize")) == ("2000k", "4000k")
    assert "-cq" not in command


@pytest.mark.parametrize(
    ("preset", "mapped"), [("ultrafast", "p1"), ("medium", "p5"), ("veryslow", "p7"), ("p4", "p4")]
)
def test_nvenc_never_gets_a_crf(ffmpeg: Path, plain: Probe, tmp_path: Path, preset: str, mapped: str) -> None:
    command = encode(ffmpeg, plain, tmp_path / "o.mp4", _plan(plain, preset=preset), Way(NVENC))
    assert "-crf" not in command
    assert _value(command, "-preset") == mapped
    assert (_value(command, "-cq"), _value(command, "-tune"), _value(command, "-rc-lookahead")) == ("23", "hq", "20")


@pytest.mark.parametrize("crf", [0, 51])
def test_the_ends_of_the_crf_scale_encode(ffmpeg: Path, plain: Probe, tmp_path: Path, x264: Encoder, crf: int) -> None:
    run(_reencode(ffmpeg, plain, tmp_path / "o.mp4", x264, crf), duration_s=1)


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_strange_names_work_on_both_sides(
    ffmpeg: Path, prober: Prober, plain: Probe, tmp_path: Path, x264: Encoder, name: str
) -> None:
    source = tmp_path / "in" / name
    output = tmp_path / "out" / name
    source.parent.mkdir()
    output.parent.mkdir()
    source.symlink_to(plain.path)
    run(_reencode(ffmpeg, dataclasses.replace(plain, path=source), output, x264), duration_s=1)
    image = output.with_suffix(".jpg")
    run(thumbnail(ffmpeg, dataclasses.replace(plain, path=source), image, at_s=0.2, width=80), duration_s=None)
    assert sorted(output.parent.iterdir()) == sorted([output, image])


@pytest.mark.parametrize("size", ["2x2", "3x1", "16x2", "99x1"])
def test_tiny_pictures_encode(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder, size: str
) -> None:
    path = clips.make(f"{size}.mkv", "-f", "lavfi", "-i", f"color=red:size={size}:duration=1", "-c:v", "ffv1")
    source = prober.probe(path)
    output = tmp_path / "o.mp4"
    run(_reencode(ffmpeg, source, output, x264), duration_s=1)
    _verified(prober, source, output)


@pytest.mark.parametrize("rate", [30000 / 1001, 1000.0])
def test_odd_frame_rates_stay_sane(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder, rate: float
) -> None:
    path = clips.picture(f"rate{rate:.0f}.mkv", "64x64", str(Fraction(rate).limit_denominator(1001)), 1)
    source = prober.probe(path)
    output = tmp_path / "o.mp4"
    run(_reencode(ffmpeg, source, output, x264), duration_s=1)
    fps = _verified(prober, source, output).fps
    assert fps == pytest.approx(min(rate, 120), rel=0.02)


def test_a_variable_frame_rate_keeps_its_times(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    """A screen recording: frames only where something changes."""
    path = clips.picture(
        "variable.mkv", "64x64", "25", 2, "-vf", "select='lt(n,5)+eq(n,20)+eq(n,49)'", "-fps_mode", "vfr"
    )
    source = prober.probe(path, decode_frames=5)
    output = tmp_path / "o.mp4"
    run(_reencode(ffmpeg, source, output, x264), duration_s=2)
    assert _times(output) == pytest.approx(_times(path), abs=0.005)
    _verified(prober, source, output)


def _times(path: Path) -> list[float]:
    import av

    with av.open(str(path)) as container:
        return [frame.time or 0.0 for frame in container.decode(video=0)]


def test_a_concat_list_quotes_what_it_can(ffmpeg: Path, clips: Clips, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in STRANGE_NAMES if "\n" not in name]
    for path in paths:
        path.symlink_to(clips.plain)
    list_file = tmp_path / "list.txt"
    list_file.write_text(concat_list(paths))
    run(concat_copy(ffmpeg, list_file, tmp_path / "joined.mp4"), duration_s=None)
    assert len(_times(tmp_path / "joined.mp4")) == 25 * len(paths)


def test_a_concat_list_refuses_a_line_break(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line break"):
        concat_list([tmp_path / "a\nb.mp4"])


def test_a_short_file_a_lost_track_and_a_text_are_rejected(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    source = prober.probe(clips.long)
    short = tmp_path / "short.mp4"
    subprocess.run([ffmpeg, "-v", "error", "-t", "58", "-i", clips.long, "-c", "copy", short], check=True)
    with pytest.raises(errors.OutputRejected, match="instead of 60"):
        _verified(prober, source, short)
    with pytest.raises(errors.OutputRejected, match="audio tracks"):
        _verified(prober, prober.probe(clips.plain), clips.silent)
    with pytest.raises(errors.OutputRejected, match="subtitle tracks"):
        _verified(prober, prober.probe(clips.rich), clips.plain)
    with pytest.raises(errors.OutputRejected, match="instead of 90×160"):
        _verified(prober, prober.probe(clips.rotated), clips.plain)
    with pytest.raises(errors.OutputRejected, match="instead of h264"):
        _verified(prober, prober.probe(clips.vp9), clips.vp9)
    (tmp_path / "text.mp4").write_text("no")
    with pytest.raises(errors.OutputRejected, match="cannot be read"):
        _verified(prober, source, tmp_path / "text.mp4")


def test_an_encode_that_will_be_too_large_is_told_from_its_beginning() -> None:
    early, later = Progress(size_bytes=900, percent=4.0), Progress(size_bytes=900, percent=10.0)
    for harmless in ((early, 60), (later, 5), (Progress(size_bytes=140, percent=10.0), 60)):
        verify.require_size(Path("a.mkv"), *harmless, 1000)
    with pytest.raises(errors.ResultTooLarge, match="would have 9000 bytes, the limit is 1000"):
        verify.require_size(Path("a.mkv"), later, 60, 1000)
    with pytest.raises(errors.ResultTooLarge, match="has 1001 bytes"):
        verify.require_size(Path("a.mkv"), Progress(size_bytes=1001), 0, 1000)


def test_damage_in_the_middle_of_an_output_is_found_by_decoding_it_all(
    ffmpeg: Path, clips: Clips, plain: Probe, tmp_path: Path
) -> None:
    content = bytearray(clips.plain.read_bytes())
    middle = content.index(b"mdat") + 4000
    content[middle : middle + 400] = bytes(400)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    run(decode_all(ffmpeg, clips.plain, _plan(plain)), duration_s=1)
    with pytest.raises(errors.FfmpegFailed):
        run(decode_all(ffmpeg, damaged, _plan(plain)), duration_s=1)


def test_beside_a_copied_picture_the_sound_that_was_encoded_is_decoded(
    ffmpeg: Path, prober: Prober, clips: Clips
) -> None:
    """What was copied is as it was in the source; the second track became AAC."""
    rich = prober.probe(clips.rich)
    first, second = rich.audio
    plan = EncodePlan("matroska", video=None, audio=(TrackPlan(first), TrackPlan(second, "aac", 128, 2)))
    command = decode_all(ffmpeg, rich.path, plan)
    assert [command[n + 1] for n, word in enumerate(command) if word == "-map"] == ["0:a:1"]
    run(command, duration_s=1)
