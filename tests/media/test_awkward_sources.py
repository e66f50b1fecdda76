"""Sources on which encoders go wrong: each becomes a verified rendition, or a verified file of another codec that
keeps what it can."""

import dataclasses
from pathlib import Path

import pytest

from media_pipelines.media import encoders, errors, streaming, verify
from media_pipelines.media.commands.rendition import cover, encode, loose_covers
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.plan import Codec, Container, Crf, EncodePlan, TrackPlan, VideoPlan
from media_pipelines.media.probe import Color, Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips

BT709 = Color("bt709", "bt709", "bt709", "tv")
PQ = Color("bt2020", "smpte2084", "bt2020nc", "tv")
HLG = Color("bt2020", "arib-std-b67", "bt2020nc", "tv")


class Encodes:
    """Encodes and verifies."""

    def __init__(self, ffmpeg: Path, prober: Prober, folder: Path) -> None:
        self._ffmpeg, self._prober, self._folder = ffmpeg, prober, folder

    def rendition(self, source: Probe) -> Probe:
        plan = streaming.rendition(source, quality=Crf(23), preset="ultrafast", max_bitrate_kbps=2000)
        return self.planned(source, plan)

    def other(self, source: Probe, codec: Codec, container: Container = "matroska") -> Probe:
        """In another codec, with all that the container holds."""
        video = VideoPlan(
            codec, Crf(30), "ultrafast", source.width // 2 * 2, source.height // 2 * 2,
            ten_bit=source.bit_depth > 8, hdr="keep" if source.hdr else "none", deinterlace=source.interlaced,
        )  # fmt: skip
        plan = EncodePlan(
            container,
            video,
            audio=tuple(TrackPlan(stream, "opus", 96, stream.channels) for stream in source.audio),
            subtitles=streaming.subtitles(source, container),
            attachments=streaming.attachments(source, container),
        )
        return self.planned(source, plan)

    def planned(self, source: Probe, plan: EncodePlan) -> Probe:
        output = self._folder / f"out.{plan.container}"
        way = encoders.ways(self._ffmpeg, plan.video, prefer_hardware=False)[0]
        covers = [self._folder / f"cover {stream.index}" for stream in loose_covers(plan)]
        for stream, path in zip(loose_covers(plan), covers, strict=True):
            run(cover(self._ffmpeg, source, stream, path), duration_s=None)
        run(encode(self._ffmpeg, source, output, plan, way, covers), duration_s=source.duration_s)
        return verify.verify_encode(self._prober, source, plan, output)


@pytest.fixture
def encodes(ffmpeg: Path, prober: Prober, tmp_path: Path) -> Encodes:
    return Encodes(ffmpeg, prober, tmp_path)


@pytest.mark.parametrize("name", ["hdr10", "hlg"])
def test_high_dynamic_range_becomes_standard_in_a_rendition(
    encodes: Encodes, prober: Prober, clips: Clips, name: str
) -> None:
    source = prober.probe(getattr(clips, name))
    assert source.hdr == {"hdr10": "pq", "hlg": "hlg"}[name]
    made = encodes.rendition(source)
    assert (made.color, made.hdr10, made.bit_depth) == (BT709, None, 8)


def test_without_a_tone_mapper_the_curve_stays_marked(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    """A player can still show it right; unmarked it would look washed out for ever."""
    source = prober.probe(clips.hdr10)
    plan = streaming.rendition(source, quality=Crf(23), preset="ultrafast", max_bitrate_kbps=None)
    way = encoders.Way(encoders.Encoder("libx264", hardware=False, reason="a test"))
    run(encode(ffmpeg, source, tmp_path / "o.mp4", plan, way), duration_s=1)
    assert prober.probe(tmp_path / "o.mp4").color == PQ


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_hdr10_is_kept_with_its_mastering_display_and_light_levels(
    encodes: Encodes, prober: Prober, clips: Clips, codec: Codec
) -> None:
    source = prober.probe(clips.hdr10)
    made = encodes.other(source, codec)
    assert (made.color, made.bit_depth) == (PQ, 10)
    assert source.hdr10 is not None
    assert made.hdr10 is not None
    assert (made.hdr10.max_luminance, made.hdr10.max_cll, made.hdr10.max_fall) == (10_000_000, 1000, 400)
    assert made.hdr10.red == pytest.approx(source.hdr10.red, abs=4)  # AV1 rounds to 1/65536
    assert made.hdr10.white == pytest.approx(source.hdr10.white, abs=4)


def test_hlg_is_kept(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    assert encodes.other(prober.probe(clips.hlg), "hevc", "mp4").color == HLG


@pytest.mark.parametrize("name", ["bt709", "bt601", "full_range"])
def test_colour_tags_and_range_come_along(encodes: Encodes, prober: Prober, clips: Clips, name: str) -> None:
    source = prober.probe(getattr(clips, name))
    assert source.color.matrix is not None
    assert encodes.rendition(source).color == source.color


def test_rgb_becomes_bt709_and_says_so(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.rgb)
    made = encodes.rendition(source)
    assert (source.color.matrix, made.color.matrix, made.color.range) == ("gbr", "bt709", "tv")


@pytest.mark.parametrize("pix_fmt", ["yuv422p10le", "yuv444p", "yuv444p12le", "yuv410p", "gray"])
def test_every_sampling_becomes_4_2_0_in_8_bits(encodes: Encodes, prober: Prober, clips: Clips, pix_fmt: str) -> None:
    source = prober.probe(clips.sampled(pix_fmt))
    made = encodes.rendition(source)
    assert (made.pix_fmt, made.bit_depth) == ("yuv420p", 8)


def test_interlaced_pictures_are_made_progressive(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.interlaced)
    made = encodes.rendition(source)
    assert (source.interlaced, made.interlaced) == (True, False)
    assert made.fps == source.fps


def test_progressive_pictures_are_left_alone(prober: Prober, clips: Clips) -> None:
    for clip in (clips.plain, clips.vp9, clips.odd):
        assert not prober.probe(clip).interlaced


@pytest.mark.parametrize(
    ("name", "late_s"),
    [("late_sound.mp4", (0.0, 0.7)), ("late_picture.mp4", (0.7, 0.0)), ("late_picture.mkv", (0.7, 0.0))],
)
def test_sound_and_picture_that_start_apart_stay_apart(
    encodes: Encodes, prober: Prober, clips: Clips, name: str, late_s: tuple[float, float]
) -> None:
    source = prober.probe(clips.apart(name))
    made = encodes.rendition(source)
    assert made.duration_s == pytest.approx(1.7, abs=0.06)
    assert [stream.start_s for stream in made.streams] == pytest.approx(late_s, abs=0.06)


def test_a_file_whose_times_start_late_lasts_as_long_as_what_it_shows(
    encodes: Encodes, prober: Prober, clips: Clips
) -> None:
    for clip in (clips.starts_late("late.mkv"), clips.starts_late("late.ts")):
        source = prober.probe(clip, decode_frames=5)
        assert source.duration_s == pytest.approx(1.0, abs=0.06)
        assert encodes.rendition(source).duration_s == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", ["jumps_forward", "jumps_back"])
def test_a_recording_whose_clock_jumps_is_verified_by_what_it_holds(
    encodes: Encodes, prober: Prober, clips: Clips, name: str
) -> None:
    source = prober.probe(getattr(clips, name))
    assert encodes.rendition(source).duration_s == pytest.approx(2.0, abs=0.1)


def test_a_lost_second_of_such_a_recording_is_still_noticed(prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.jumps_forward)
    plan = streaming.rendition(source, quality=Crf(23), preset="ultrafast", max_bitrate_kbps=None)
    with pytest.raises(errors.OutputRejected, match="instead of 2"):
        verify.verify_encode(prober, source, plan, clips.plain)


@pytest.mark.parametrize("layout", ["mono", "5.1", "5.1(side)", "7.1"])
def test_surround_sound_fits_what_holds_it(encodes: Encodes, prober: Prober, clips: Clips, layout: str) -> None:
    source = prober.probe(clips.surround(layout))
    channels = source.audio[0].channels
    assert channels is not None
    assert encodes.rendition(source).audio[0].channels == min(channels, 6)
    assert encodes.other(source, "vp9", "webm").audio[0].channels == channels


def test_five_audio_tracks_stay_five(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.five_tracks)
    made = encodes.rendition(source)
    assert [stream.language for stream in made.of_kind("audio")] == ["eng", "deu", "fra", "spa", "ita"]
    assert [stream.is_default for stream in made.of_kind("audio")] == [True, False, False, False, False]


def test_fonts_chapters_and_picture_subtitles_stay_in_matroska(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.laden)
    made = encodes.other(source, "hevc")
    assert [(stream.kind, stream.codec) for stream in made.streams if stream.kind in ("subtitle", "attachment")] == [
        ("subtitle", "subrip"), ("subtitle", "hdmv_pgs_subtitle"), ("attachment", "unknown"),
    ]  # fmt: skip
    assert made.chapters == source.chapters == 2


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_cover_art_stays_cover_art(encodes: Encodes, prober: Prober, clips: Clips, container: Container) -> None:
    made = encodes.other(prober.probe(clips.laden), "hevc", container)
    assert [(stream.kind, stream.codec, stream.is_cover) for stream in made.streams if stream.kind == "video"] == [
        ("video", "hevc", False), ("video", "mjpeg", True),
    ]  # fmt: skip


def test_what_mp4_cannot_hold_is_named(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.laden)
    plan = streaming.rendition(source, quality=Crf(23), preset="ultrafast", max_bitrate_kbps=None)
    assert [line.partition(" (")[2] for line in plan.dropped] == [
        "subtitle, hdmv_pgs_subtitle): MP4 holds text subtitles only",
        "attachment, unknown): MP4 does not hold it",
        "video, mjpeg): cover art",
    ]
    made = encodes.planned(source, plan)
    assert (made.chapters, [stream.codec for stream in made.of_kind("subtitle")]) == (2, ["mov_text"])


def test_a_source_without_a_picture_says_so(prober: Prober, clips: Clips) -> None:
    for clip in (clips.sound_only, clips.covered):
        with pytest.raises(errors.NoVideoStream, match="holds no video stream"):
            prober.probe(clip)


def test_avi_without_frame_times_encodes(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.any("timeless.avi", 1, "-c:v", "mpeg4", "-c:a", "mp3"))
    assert encodes.rendition(source).fps == pytest.approx(25, rel=0.05)


def test_a_subtitle_that_outlasts_the_film_is_no_reason_to_reject(
    encodes: Encodes, prober: Prober, clips: Clips
) -> None:
    source = prober.probe(clips.late_subtitle)
    for made in (encodes.rendition(source), encodes.other(source, "hevc")):
        assert made.of_kind("subtitle")


def test_a_dropped_subtitle_that_runs_longer_is_no_reason_either(
    encodes: Encodes, prober: Prober, clips: Clips
) -> None:
    source = prober.probe(clips.late_subtitle)
    plan = streaming.rendition(source, quality=Crf(23), preset="ultrafast", max_bitrate_kbps=None)
    encodes.planned(source, dataclasses.replace(plan, subtitles=()))


def test_the_last_of_a_few_slides_is_shown_as_long_as_before(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    source = prober.probe(clips.slides)
    assert encodes.rendition(source).duration_s == pytest.approx(2.04, abs=0.02)


def test_a_truncated_source_is_named_instead_of_its_output(encodes: Encodes, prober: Prober, clips: Clips) -> None:
    with pytest.raises(errors.UnreadableMedia, match=r"cut\.mkv cannot be read as a video: "):
        encodes.rendition(prober.probe(clips.cut_matroska))
