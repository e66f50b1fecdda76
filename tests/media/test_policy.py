"""What a policy makes of a file, decided from what the file holds."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from jobqueue_bridge.policy import DEFAULT_CRF, MAX_CRF, Policy
from media_pipelines.media import encoder_flags
from media_pipelines.media.plan import Bitrate, Crf, Target
from media_pipelines.media.policy import Encode, Refuse, Skip, decide, result_name
from media_pipelines.media.probe import Probe, Stream

MKV, MP4, AVI = "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "avi"


def track(index: int, codec: str, channels: int = 2, **more: Any) -> Stream:
    return Stream(index, "audio", codec, channels=channels, **more)


def file(
    name: str = "film.mkv", codec: str = "h264", size: tuple[int, int] = (1920, 1080), *others: Stream,
    container: str = MKV, kbps: int | None = 8000, **more: Any,
) -> Probe:  # fmt: skip
    streams = (Stream(0, "video", codec, is_default=True), *others)
    audio = [stream.codec for stream in others if stream.kind == "audio"]
    values: dict[str, Any] = {
        "path": Path("/library/videos") / name, "size_bytes": 60_000_000, "container": container, "duration_s": 60.0,
        "width": size[0], "height": size[1], "rotation": 0, "sar": Fraction(1), "fps": 25.0, "video_codec": codec,
        "pix_fmt": "yuv420p", "audio_codec": audio[0] if audio else None, "has_audio": bool(audio), "has_video": True,
        "bitrate_kbps": kbps, "streams": streams, "video_index": 0, "frames_decoded": 0,
    }  # fmt: skip
    return Probe(**{**values, **more})


def encode(policy: dict[str, Any], source: Probe) -> Encode:
    decision = decide(Policy(**policy), source)
    assert isinstance(decision, Encode), decision
    return decision


def skip(policy: dict[str, Any], source: Probe) -> str:
    decision = decide(Policy(**policy), source)
    assert isinstance(decision, Skip), decision
    return decision.reason


# The picture


@pytest.mark.parametrize(
    ("limits", "size", "expected"),
    [
        ({"max_resolution": "1080p"}, (3840, 2160), (1920, 1080)),
        ({"max_resolution": "1080p"}, (2160, 3840), (1080, 1920)),
        ({"max_resolution": "1080p"}, (3840, 1600), (1920, 800)),
        ({"max_resolution": "1080p"}, (1440, 1440), (1080, 1080)),
        ({"max_resolution": "720p"}, (1920, 804), (1280, 536)),
        ({"max_resolution": "480p"}, (1440, 1080), (640, 480)),
        ({"max_width": 1001}, (2002, 1000), (1000, 500)),
        ({"max_height": 800}, (1920, 1080), (1422, 800)),
        ({"max_width": 1920, "max_height": 800}, (3840, 2160), (1422, 800)),
        ({"max_resolution": "8k", "max_width": 640}, (1280, 720), (640, 360)),
        ({"max_width": 16}, (4096, 100), (16, 2)),
    ],
)
def test_a_picture_that_is_too_large_is_made_to_fit_in_its_own_shape(
    limits: dict[str, Any], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    video = encode({"target_video_codec": "h264", **limits}, file("a.mkv", "h264", size)).plan.video
    assert video is not None
    assert (video.width, video.height) == expected


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (1080, 1920), (101, 77)])
def test_nothing_is_made_larger(size: tuple[int, int]) -> None:
    assert skip({"target_video_codec": "hevc", "max_resolution": "1080p"}, file("a.mkv", "hevc", size))
    video = encode({"target_video_codec": "hevc", "max_resolution": "1080p"}, file("a.mkv", "h264", size)).plan.video
    assert video is not None
    assert (video.width, video.height) == (size[0] // 2 * 2, size[1] // 2 * 2)


def test_a_policy_without_a_codec_keeps_the_sources_where_it_can_be_encoded() -> None:
    for codec, expected in {"hevc": "hevc", "av1": "av1", "mpeg4": "h264", "prores": "h264"}.items():
        video = encode({"max_resolution": "720p"}, file("a.mkv", codec)).plan.video
        assert video is not None
        assert video.codec == expected
        assert skip({"max_resolution": "1080p"}, file("a.mkv", codec))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"target_video_codec": "av1"}, Crf(30)),
        ({"target_video_codec": "hevc", "target_crf": 20}, Crf(20)),
        ({"target_video_codec": "hevc", "target_crf": 20, "target_bitrate": "2500k"}, Bitrate(2500)),
        ({"target_video_codec": "hevc", "target_vmaf": 95}, Target("vmaf", 95)),
        ({"target_video_codec": "hevc", "target_xpsnr": 40.5}, Target("xpsnr", 40.5)),
        ({"max_width": 640, "target_crf": 51}, Crf(51)),
    ],
)
def test_the_quality_is_the_policys(policy: dict[str, Any], expected: object) -> None:
    video = encode(policy, file()).plan.video
    assert video is not None
    assert video.quality == expected


def test_the_default_quality_is_the_encoder_layers() -> None:
    assert DEFAULT_CRF == encoder_flags.DEFAULT_CRF
    assert MAX_CRF == encoder_flags.WORST_CRF


def test_depth_hdr_and_interlacing_are_planned_for() -> None:
    deep = replace(file(), bit_depth=10, interlaced=True)
    hevc, h264 = (
        encode({"target_video_codec": codec, "max_width": 640}, deep).plan.video for codec in ("hevc", "h264")
    )
    assert hevc is not None
    assert h264 is not None
    assert (hevc.ten_bit, h264.ten_bit, hevc.deinterlace) == (True, False, True)


@pytest.mark.parametrize(("codec", "size"), [("hevc", (8, 640)), ("hevc", (640, 15)), ("av1", (2, 2))])
def test_a_picture_that_is_too_small_for_a_codec_is_refused(codec: str, size: tuple[int, int]) -> None:
    decision = decide(Policy(target_video_codec=codec), file("a.mkv", "mpeg4", size))
    assert isinstance(decision, Refuse)
    assert "too small for" in decision.reason


# When nothing is done


def test_a_file_that_complies_is_skipped_with_its_values() -> None:
    source = file("a.mkv", "hevc", (1280, 720), track(1, "aac"), kbps=2100)
    reason = skip({"target_video_codec": "hevc", "audio_transcode_to": "aac"}, source)
    assert reason == "Already compliant (hevc, 1280x720, 2100 kbit/s; aac)"


SKIPS = {"codec_matches": ["hevc", "av1"], "resolution_within": "1080p", "bitrate_under": "5M"}


@pytest.mark.parametrize(
    ("source", "skipped"),
    [
        (file("a.mkv", "av1", kbps=4999), True),
        (file("a.mkv", "hevc", (1080, 1920), kbps=4999), True),
        (file("a.mkv", "av1", kbps=5000), False),
        (file("a.mkv", "av1", kbps=None), False),
        (file("a.mkv", "av1", (1922, 1080), kbps=1), False),
        (file("a.mkv", "h264", kbps=1), False),
    ],
)
def test_all_conditions_of_skip_if_must_hold(source: Probe, skipped: bool) -> None:
    decision = decide(Policy(target_video_codec="hevc", audio_transcode_to="opus", skip_if=SKIPS), source)
    assert isinstance(decision, Skip) == skipped
    if isinstance(decision, Skip):
        assert decision.reason.startswith("Already compliant (skip_if: ")


def test_the_right_codec_above_the_bit_rate_is_encoded_anew() -> None:
    policy = {"target_video_codec": "hevc", "skip_if": {"codec_matches": ["hevc"], "bitrate_under": "5M"}}
    assert encode(policy, file("a.mkv", "hevc", kbps=9000)).changes == ("hevc encoded anew",)
    assert skip(policy, file("a.mkv", "hevc", kbps=4000))


# Sound


def outcome(policy: dict[str, Any], *tracks: Stream, **more: Any) -> list[tuple[int, str | None, int | None]]:
    """Index, codec (None: copied) and channels of each audio track of the result."""
    plan = encode({"target_video_codec": "hevc", **policy}, file("a.mkv", "h264", (640, 360), *tracks, **more)).plan
    return [(track.stream.index, track.codec, track.channels) for track in plan.audio]


def test_a_policy_that_says_nothing_on_audio_copies_it() -> None:
    assert outcome({}, track(1, "mp2"), track(2, "truehd", 8)) == [(1, None, None), (2, None, None)]


def test_preserved_tracks_and_those_of_the_wanted_codec_are_copied_and_others_encoded() -> None:
    policy = {"audio_preserve_codecs": ["flac", "dts-hd", "pcm"], "audio_transcode_to": "opus"}
    tracks = [track(1, "flac"), track(2, "dts", 6), track(3, "pcm_s24le"), track(4, "opus"), track(5, "mp3")]
    assert outcome(policy, *tracks) == [(1, None, None), (2, None, None), (3, None, None), (4, None, None),
                                        (5, "opus", None)]  # fmt: skip


def test_a_list_of_preserved_codecs_alone_makes_aac_of_the_rest() -> None:
    assert outcome({"audio_preserve_codecs": ["flac"]}, track(1, "flac"), track(2, "ac3", 6)) == [
        (1, None, None), (2, "aac", None),
    ]  # fmt: skip


def test_a_codec_gets_no_more_channels_than_it_holds() -> None:
    assert outcome({"audio_transcode_to": "ac3"}, track(1, "flac", 8)) == [(1, "ac3", 6)]
    assert outcome({"audio_transcode_to": "mp3"}, track(1, "flac", 6)) == [(1, "mp3", 2)]


@pytest.mark.parametrize(
    ("policy", "channels", "kbps"),
    [
        ({"audio_transcode_to": "aac"}, 2, 192),
        ({"audio_transcode_to": "aac"}, 1, 192),
        ({"audio_transcode_to": "aac"}, 6, 576),
        ({"audio_transcode_to": "aac", "audio_transcode_bitrate": "256k"}, 6, 256),
        ({"audio_transcode_to": "flac", "audio_transcode_bitrate": 0}, 6, None),
    ],
)
def test_the_audio_bit_rate_is_the_policys_or_grows_with_the_channels(
    policy: dict[str, Any], channels: int, kbps: int | None
) -> None:
    (one,) = encode(policy, file("a.mkv", "h264", (640, 360), track(1, "mp3", channels))).plan.audio
    assert one.bitrate_kbps == kbps


def test_a_downmix_is_added_once() -> None:
    surround, stereo = track(1, "truehd", 8), track(2, "aac", 2)
    policy = {"audio_preserve_codecs": ["truehd"], "audio_downmix": "stereo"}
    assert outcome(policy, surround) == [(1, None, None), (1, "aac", 2)]
    assert outcome(policy, surround, stereo) == [(1, None, None), (2, None, None)]
    assert outcome({"audio_downmix": "5.1"}, surround) == [(1, None, None), (1, "aac", 6)]
    assert outcome({"audio_downmix": "5.1"}, track(1, "ac3", 6)) == [(1, None, None)]
    assert outcome({"audio_downmix": "stereo"}, track(1, "aac", 1)) == [(1, None, None)]


def test_a_picture_that_complies_is_copied_while_the_sound_changes() -> None:
    decision = encode({"target_video_codec": "hevc", "audio_transcode_to": "aac"}, file("a.mkv", "hevc", (640, 360),
                      track(1, "mp3")))  # fmt: skip
    assert decision.plan.video is None
    assert decision.changes == ("audio 1: mp3 -> aac",)


# Every stream is accounted for


EXTRAS = (
    track(1, "aac"), track(2, "unknown", 0), Stream(3, "subtitle", "subrip"),
    Stream(4, "subtitle", "hdmv_pgs_subtitle"), Stream(5, "attachment", "ttf"), Stream(6, "data", "bin_data"),
    Stream(7, "video", "mjpeg", is_cover=True), Stream(8, "video", "h264"),
)  # fmt: skip


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_every_stream_is_mapped_or_dropped_with_a_reason(container: str) -> None:
    decision = encode(
        {"target_video_codec": "hevc", "container": container}, file("a.mkv", "h264", (640, 360), *EXTRAS)
    )
    plan = decision.plan
    mapped = {track.stream.index for track in (*plan.audio, *plan.subtitles)} | {s.index for s in plan.attachments}
    dropped = {int(line.split()[1]) for line in plan.dropped}
    assert mapped | dropped | {0} == {stream.index for stream in (Stream(0, "video", "h264"), *EXTRAS)}
    assert not mapped & dropped
    assert all(": " in line for line in plan.dropped)
    assert {f"left out: {line}" for line in plan.dropped} <= set(decision.streams)


# Containers and names


@pytest.mark.parametrize(
    ("name", "container", "policy", "expected"),
    [
        ("a.mkv", MKV, {}, "a.mkv"),
        ("a.mp4", MP4, {}, "a.mp4"),
        ("A.M4V", MP4, {}, "A.M4V"),
        ("a.mov", MP4, {}, "a.mp4"),
        ("a.avi", AVI, {}, "a.mkv"),
        ("a.webm", MKV, {}, "a.mkv"),
        ("a.b.mkv", MKV, {"container": "mp4"}, "a.b.mp4"),
        ("a.mp4", MP4, {"container": "mkv"}, "a.mkv"),
    ],
)
def test_the_container_is_the_sources_family_unless_the_policy_says(
    name: str, container: str, policy: dict[str, Any], expected: str
) -> None:
    assert encode({"target_video_codec": "hevc", **policy}, file(name, container=container)).name == expected


def test_a_track_that_mp4_cannot_hold_makes_matroska_of_it_or_is_encoded_where_mp4_is_wanted() -> None:
    source = file("a.mov", "h264", (640, 360), track(1, "pcm_s16le"), container=MP4)
    kept = encode({"target_video_codec": "hevc"}, source)
    assert (kept.name, kept.plan.audio[0].codec) == ("a.mkv", None)
    wanted = encode({"target_video_codec": "hevc", "container": "mp4"}, source)
    assert (wanted.name, wanted.plan.audio[0].codec) == ("a.mp4", "aac")


def test_a_wanted_container_alone_is_a_reason() -> None:
    decision = encode({"container": "mkv"}, file("a.mp4", container=MP4))
    assert (decision.plan.video, decision.changes) == (None, ("mp4 -> mkv",))
    assert skip({"container": "mkv"}, file("a.mkv"))
    assert skip({"container": "mp4"}, file("a.mov", container=MP4))


def test_a_name_without_extension_gets_one() -> None:
    assert result_name("film", "matroska") == "film.mkv"


# Destinations


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("Movies/{year}/{title}", "The.Matrix.1999.1080p.BluRay.x264.mkv", "Movies/1999/The Matrix"),
        ("{resolution}/{codec}/{source}", "The.Matrix.1999.720p.BluRay.x264.mkv", "720p/x264/BluRay"),
        ("{resolution}-{codec}", "holiday.mkv", "1080p-hevc"),
        ("TV/{series}/Season {season}", "Show.S01E02.mkv", "TV/Show/Season 01"),
        ("Movies/{year}/{title}", "holiday.mkv", "Movies/Unknown/holiday"),
        ("{title}", "...mkv", "Unknown"),
        ("{title}", "a\nb.mkv", "a b"),
        ("{title}", f"{'ß' * 126}.mkv", "ß" * 126),
        ("x{title}{title}", f"{'ß' * 126}.mkv", "x" + "ß" * 127),
    ],
)
def test_a_destination_is_filled_from_the_name(template: str, name: str, expected: str) -> None:
    assert encode({"target_video_codec": "hevc", "destination": template}, file(name)).folder == expected


# Estimates


def test_the_time_is_measured_where_earlier_jobs_say_and_else_a_guess() -> None:
    policy = Policy(target_video_codec="hevc")
    guessed = decide(policy, file())
    measured = decide(policy, file(), {("hevc", "1080p"): 2.0, ("h264", "1080p"): 9.0})
    assert isinstance(guessed, Encode)
    assert isinstance(measured, Encode)
    assert (guessed.estimate.measured, measured.estimate.measured, measured.estimate.seconds) == (False, True, 30.0)


def test_a_bit_rate_says_the_size_and_a_better_quality_a_larger_one() -> None:
    sized = encode({"target_video_codec": "hevc", "target_bitrate": "800k"}, file()).estimate.size_bytes
    assert sized == 60 * 800_000 / 8
    sizes = [
        encode({"target_video_codec": "hevc", "target_crf": crf}, file()).estimate.size_bytes for crf in (40, 30, 20)
    ]
    assert sizes == sorted(sizes, key=lambda size: size or 0)
    assert all(size is not None and 0 < size <= 60 * 8_000_000 / 8 for size in sizes)


def test_a_source_without_a_duration_is_decided_without_an_estimate() -> None:
    estimate = encode({"target_video_codec": "hevc"}, replace(file(), duration_s=None)).estimate
    assert estimate.seconds is None
