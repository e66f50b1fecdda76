"""Plans as files: each codec in each container, encoded and read back."""

from pathlib import Path

import pytest

from media_pipelines.media import encoders, verify
from media_pipelines.media.commands.rendition import encode
from media_pipelines.media.encoder_flags import DEFAULT_CRF
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.plan import Bitrate, Codec, Container, Crf, EncodePlan, TrackPlan, VideoPlan
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.streaming import attachments, subtitles
from tests.media.conftest import Clips


def _video(codec: Codec, source: Probe, **more: object) -> VideoPlan:
    known = {"quality": Crf(DEFAULT_CRF[codec]), "preset": "ultrafast", "width": source.width, "height": source.height}
    return VideoPlan(codec=codec, **{**known, **more})


def _made(ffmpeg: Path, prober: Prober, source: Probe, output: Path, plan: EncodePlan) -> Probe:
    way = encoders.ways(ffmpeg, plan.video, prefer_hardware=False)[0]
    run(encode(ffmpeg, source, output, plan, way), duration_s=source.duration_s)
    return verify.verify_encode(prober, source, plan, output)


@pytest.mark.parametrize("ten_bit", [False, True])
@pytest.mark.parametrize(
    ("codec", "container"),
    [("h264", "mp4"), ("hevc", "mp4"), ("hevc", "matroska"), ("av1", "mp4"), ("vp9", "webm"), ("vp9", "matroska")],
)
def test_every_codec_is_made_by_software(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, codec: Codec, container: Container, ten_bit: bool
) -> None:
    source = prober.probe(clips.plain)
    sound = "opus" if container == "webm" else "aac"
    plan = EncodePlan(
        container, _video(codec, source, ten_bit=ten_bit), audio=(TrackPlan(source.audio[0], sound, 96, 2),)
    )
    made = _made(ffmpeg, prober, source, tmp_path / "out", plan)
    assert (made.video_codec, made.bit_depth, made.audio_codec) == (codec, 10 if ten_bit else 8, sound)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_a_bit_rate_may_take_the_place_of_a_quality(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, codec: Codec
) -> None:
    source = prober.probe(clips.plain)
    plan = EncodePlan("matroska", _video(codec, source, quality=Bitrate(300), max_bitrate_kbps=400))
    assert _made(ffmpeg, prober, source, tmp_path / "out", plan).video_codec == codec


def test_hevc_in_mp4_has_the_tag_that_apple_wants(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    source = prober.probe(clips.plain)
    _made(ffmpeg, prober, source, tmp_path / "out.mp4", EncodePlan("mp4", _video("hevc", source)))
    assert b"hvc1" in (tmp_path / "out.mp4").read_bytes()


def test_streams_are_copied_where_the_plan_says_so(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    """A remux: picture, sound, subtitle and attachment as they are."""
    source = prober.probe(clips.rich)
    plan = EncodePlan(
        "matroska",
        None,
        audio=tuple(TrackPlan(stream) for stream in source.audio),
        subtitles=subtitles(source, "matroska"),
        attachments=attachments(source, "matroska"),
    )
    made = _made(ffmpeg, prober, source, tmp_path / "out.mkv", plan)
    assert [(s.kind, s.codec, s.config) for s in made.streams] == [(s.kind, s.codec, s.config) for s in source.streams]
    assert [stream.language for stream in made.of_kind("audio")] == ["eng", "deu"]


def test_a_smaller_picture_keeps_its_shape(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    for clip, sar in ((clips.plain, 1), (clips.anamorphic, 2)):
        source = prober.probe(clip)
        plan = EncodePlan("mp4", _video("h264", source, width=source.width // 4 * 2, height=source.height // 4 * 2))
        made = _made(ffmpeg, prober, source, tmp_path / "out.mp4", plan)
        assert (made.width, made.height, made.sar) == (source.width // 4 * 2, source.height // 4 * 2, sar)
