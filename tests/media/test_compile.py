import dataclasses
import itertools
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from media_pipelines.media import compile as compiling
from media_pipelines.media import errors, matching, title_card, verify
from media_pipelines.media.cuts import Item, cut_up
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips


class Joiner:
    def __init__(self, ffmpeg: Path, prober: Prober, folder: Path, encoder: Encoder) -> None:
        self._ffmpeg = ffmpeg
        self._prober = prober
        self._encoder = encoder
        self.workdir = folder / "work"
        self.workdir.mkdir()
        self.output = folder / "joined.partial.mp4"
        self.percents: list[float] = []
        self.details: list[compiling.ProgressDetail] = []
        self.commands: list[str] = []
        self.how = ""
        self.starts_s: tuple[float, ...] = ()

    def join(self, *paths: Path | Item, stop: Callable[[], str | None] | None = None, crossfade_s: float = 0) -> Probe:
        def note(percent: float, detail: compiling.ProgressDetail) -> None:
            self.percents.append(percent)
            self.details.append(detail)

        joined = compiling.join(
            self._ffmpeg,
            self._prober,
            [path if isinstance(path, Item) else Item(self._prober.probe(path)) for path in paths],
            self.output,
            workdir=self.workdir,
            choose_way=lambda: Way(self._encoder),
            preset="ultrafast",
            crf=30,
            crossfade_s=crossfade_s,
            on_progress=note,
            stop=stop,
            on_command=self.commands.append,
        )
        self.how, self.starts_s = joined.how, joined.starts_s
        return joined.result


@pytest.fixture
def joiner(ffmpeg: Path, prober: Prober, tmp_path: Path, x264: Encoder) -> Joiner:
    return Joiner(ffmpeg, prober, tmp_path, x264)


def test_sources_that_match_are_copied(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    plan = matching.plan([prober.probe(clips.plain)] * 3)
    assert plan.copy
    joined = joiner.join(clips.plain, clips.plain, clips.plain)
    assert joined.duration_s == pytest.approx(3.0, abs=0.3)
    assert joined.video.config == prober.probe(clips.plain).video.config
    assert joiner.percents[-1] == pytest.approx(100, abs=5)
    assert list(joiner.workdir.iterdir()) == []


MIXED = ["plain", "rotated", "silent", "odd", "anamorphic", "vp9", "rich"]


def test_any_mixture_becomes_one_video_of_one_shape(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    paths = [getattr(clips, name) for name in MIXED]
    total_s = sum(prober.probe(path).duration_s or 0 for path in paths)
    joined = joiner.join(*paths)
    assert joined.duration_s == pytest.approx(total_s, abs=0.3)
    assert (joined.width, joined.height, joined.sar, joined.rotation) == (160, 90, 1, 0)
    assert (joined.video_codec, joined.pix_fmt, joined.audio_codec) == ("h264", "yuv420p", "aac")
    assert joined.audio[0].channels == 2
    assert list(joiner.workdir.iterdir()) == []


def test_progress_only_grows_over_all_pieces(clips: Clips, joiner: Joiner) -> None:
    joiner.join(clips.plain, clips.rotated, clips.silent)
    assert joiner.percents == sorted(joiner.percents)
    assert {detail["piece"] for detail in joiner.details} >= {1, 2, 3}
    assert joiner.percents[-1] == pytest.approx(100, abs=3)


def test_every_piece_of_the_joined_video_shows_its_source(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    red, blue = (
        clips.make(f"{colour}-{size}.mp4", "-f", "lavfi", "-i", f"color={colour}:size={size}:duration=1:rate=25",
                   "-f", "lavfi", "-i", f"sine=frequency={tone}:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p")
        for colour, size, tone in (("red", "160x90", 300), ("blue", "120x120", 3000))
    )  # fmt: skip
    joiner.join(red, blue, red)
    assert [_colour(joiner.output, at_s) for at_s in (0.5, 1.5, 2.5)] == ["red", "blue", "red"]
    tones = [_tone(joiner.output, at_s) for at_s in (0.5, 1.5, 2.5)]
    assert tones == pytest.approx([300, 3000, 300], rel=0.05)


def _colour(path: Path, at_s: float) -> str:
    import av

    with av.open(str(path)) as container:
        frame = next(frame for frame in container.decode(video=0) if (frame.time or 0) >= at_s)
        red, _, blue = frame.to_image().getpixel((80, 45))
    return "red" if red > blue else "blue"


def _tone(path: Path, at_s: float) -> float:
    import av
    import numpy as np

    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    part = sound[int((at_s - 0.3) * rate) : int((at_s + 0.3) * rate)]
    return float(np.abs(np.fft.rfft(part)).argmax() * rate / len(part))


def test_silent_sources_stay_without_sound(clips: Clips, joiner: Joiner) -> None:
    other = clips.picture("silent-tall.mp4", "90x160")
    joined = joiner.join(clips.silent, other)
    assert not joined.has_audio


def test_sound_longer_than_the_picture_keeps_its_place(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    joined = joiner.join(clips.uneven("uneven-3.0.mp4", 3.0), clips.plain)
    assert joined.duration_s == pytest.approx(4.0, abs=0.1)
    assert joined.video.duration_s == pytest.approx(4.0, abs=0.1)


def test_strange_names_can_be_joined(clips: Clips, joiner: Joiner, tmp_path: Path) -> None:
    strange = tmp_path / "it's a\nnew 'line'.mp4"
    shutil.copy(clips.plain, strange)
    assert joiner.join(strange, clips.plain).duration_s == pytest.approx(2.0, abs=0.3)


def test_a_stop_leaves_nothing_in_the_work_folder(clips: Clips, joiner: Joiner) -> None:
    until_s = time.monotonic() + 0.5
    with pytest.raises(errors.EncodeStopped):
        joiner.join(clips.long, clips.plain, stop=lambda: "cancelled" if time.monotonic() > until_s else None)
    assert list(joiner.workdir.iterdir()) == []


def test_a_truncated_source_does_not_pass(prober: Prober, clips: Clips, joiner: Joiner, tmp_path: Path) -> None:
    whole = prober.probe(clips.long)
    cut = tmp_path / "cut.mkv"
    full = clips.make("long.mkv", "-i", str(clips.long), "-c", "copy")
    cut.write_bytes(full.read_bytes()[: full.stat().st_size // 2])
    with pytest.raises(errors.OutputRejected, match="its picture ends"):
        joiner.join(cut, clips.plain)
    assert whole.duration_s == pytest.approx(60)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"video_codec": "hevc"}, "codec"),
        ({"width": 162}, "size"),
        ({"rotation": 180}, "rotation"),
        ({"sar": 2}, "pixel shape"),
        ({"pix_fmt": "yuv420p10le"}, "pixel format"),
        ({"fps": 30.0}, "frame rate"),
    ],
)
def test_any_difference_means_encoding_and_is_named(plain: Probe, change: dict[str, object], word: str) -> None:
    plan = matching.plan([plain, dataclasses.replace(plain, **change)])  # type: ignore[arg-type]
    assert not plan.copy
    assert word in plan.reason


def test_other_sound_means_encoding(prober: Prober, clips: Clips, plain: Probe) -> None:
    assert "sound" in matching.plan([plain, prober.probe(clips.silent)]).reason


def test_what_browsers_do_not_play_is_encoded_even_when_it_matches(prober: Prober, clips: Clips) -> None:
    assert not matching.plan([prober.probe(clips.vp9)] * 2).copy


def test_the_common_shape_is_that_of_most_seconds(plain: Probe) -> None:
    tall = dataclasses.replace(plain, width=90, height=160, fps=29.95, duration_s=5.0)
    plan = matching.plan([plain, plain, plain, tall])
    assert (plan.width, plan.height, plan.duration_s) == (90, 160, pytest.approx(8.0, abs=0.1))
    assert plan.fps == pytest.approx(30000 / 1001)


def test_nothing_cannot_be_compiled() -> None:
    with pytest.raises(ValueError, match="at least one"):
        matching.plan([])


def test_a_matching_source_whose_picture_ends_early_is_not_copied(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    early = clips.uneven("uneven-3.0.mp4", 3.0)
    joined = joiner.join(early, early)
    assert "the picture of one ends before its sound" in joiner.how
    assert joined.video.duration_s == pytest.approx(6.0, abs=0.1)


# Only what differs is encoded


def test_a_picture_that_matches_is_copied_where_only_sound_differs(
    prober: Prober, clips: Clips, joiner: Joiner
) -> None:
    mono = clips.make("low.mp4", "-i", str(clips.plain), "-c:v", "copy", "-c:a", "aac", "-ar", "22050")
    joined = joiner.join(clips.plain, mono, clips.plain)
    assert "3 of 3 pictures copied" in joiner.how
    assert "sound" in joiner.how
    assert joined.video.config == prober.probe(clips.plain).video.config
    assert joined.duration_s == pytest.approx(3, abs=0.1)


def test_what_our_own_encoder_made_is_not_encoded_again(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    first = joiner.join(clips.plain, clips.silent, clips.rotated)
    own = joiner.output.rename(joiner.output.with_name("own.mp4"))
    joined = joiner.join(own, clips.vp9, own)
    assert "2 of 3 pictures copied" in joiner.how
    assert joined.video.config == first.video.config == prober.probe(own).video.config
    assert joined.duration_s == pytest.approx(7, abs=0.2)
    assert _times_between_frames(joiner.output) == {40.0}


def test_a_picture_of_other_settings_is_encoded_though_its_shape_fits(clips: Clips, joiner: Joiner) -> None:
    joiner.join(clips.plain, clips.plain, clips.vp9)
    assert "3 pieces encoded (2 had the common shape, but other encoder settings than ours)" in joiner.how


def test_frame_times_are_exact_whatever_the_rate(clips: Clips, joiner: Joiner) -> None:
    ntsc = clips.picture("ntsc.mp4", "160x90", "30000/1001", 2)
    joiner.join(ntsc, clips.odd, ntsc)
    assert len(_times_between_frames(joiner.output)) == 1


def _times_between_frames(path: Path) -> set[float]:
    """Milliseconds, to a tenth."""
    import av

    with av.open(str(path)) as container:
        at_s = sorted(
            float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None
        )
    return {round((later - earlier) * 1000, 1) for earlier, later in itertools.pairwise(at_s)}


def test_all_pieces_say_the_same_of_their_colours(clips: Clips, joiner: Joiner) -> None:
    """Or their headers would differ, and a player may show the second with the first one's."""
    tagged = clips.make(
        "tagged.mp4", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1", "-c:v", "libx264",
        "-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-pix_fmt", "yuvj420p",
    )  # fmt: skip
    joiner.join(clips.vp9, tagged, clips.odd)
    assert len(_parameter_sets(joiner.output)) == 1


def _parameter_sets(path: Path) -> set[bytes]:
    """Every sequence parameter set in the stream itself."""
    import av

    found = set()
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            data = bytes(packet)
            at = 0
            while at + 4 < len(data):
                length = int.from_bytes(data[at : at + 4], "big")
                if data[at + 4] & 31 == 7:
                    found.add(data[at + 4 : at + 4 + length])
                at += 4 + length
    return found


def test_the_index_stands_in_front_without_the_file_being_written_twice(clips: Clips, joiner: Joiner) -> None:
    joiner.join(clips.plain, clips.plain)
    content = joiner.output.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    assert "faststart" not in joiner.commands[-1]


def test_an_index_that_found_no_room_gets_it_in_a_second_pass(
    clips: Clips, joiner: Joiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_index_bytes", lambda *_: 64)
    assert joiner.join(clips.plain, clips.plain).duration_s == pytest.approx(2, abs=0.1)
    content = joiner.output.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    assert ["faststart" in command for command in joiner.commands] == [False, True]


# Fades, cards, chapters


@pytest.fixture
def solids(clips: Clips, prober: Prober) -> list[Probe]:
    return [
        prober.probe(
            clips.make(
                f"solid-{colour}.mp4", "-f", "lavfi", "-i", f"color={colour}:size=160x90:duration=2:rate=25",
                "-f", "lavfi", "-i", f"sine=frequency={tone}:duration=2", "-c:v", "libx264", "-pix_fmt", "yuv420p",
            )
        )
        for colour, tone in (("red", 300), ("blue", 3000), ("red", 300))
    ]  # fmt: skip


def _pixel(path: Path, at_s: float) -> tuple[int, ...]:
    import av

    with av.open(str(path)) as container:
        frame = next(frame for frame in container.decode(video=0) if (frame.time or 0) >= at_s)
        found = frame.to_image().getpixel((80, 45))
    assert isinstance(found, tuple)
    return found


def test_a_crossfade_mixes_both_sides_and_shortens_the_whole(solids: list[Probe], joiner: Joiner) -> None:
    joined = joiner.join(*[Item(source, title=f"{n}") for n, source in enumerate(solids)], crossfade_s=1.0)
    assert joined.duration_s == pytest.approx(4.0, abs=0.1)
    assert joiner.starts_s == pytest.approx((0, 1, 2), abs=0.05)
    red, _, blue = _pixel(joiner.output, 1.5)
    assert 60 < red < 200
    assert 60 < blue < 200
    assert [_colour(joiner.output, at_s) for at_s in (0.5, 3.5)] == ["red", "red"]
    assert [_tone(joiner.output, at_s) for at_s in (0.4, 3.5)] == pytest.approx([300, 300], rel=0.05)
    assert _times_between_frames(joiner.output) == {40.0}


def test_a_part_of_a_file_without_an_index_begins_where_it_should(
    clips: Clips, solids: list[Probe], joiner: Joiner
) -> None:
    """A seek in it lands on any packet: what depends on the key frame before would be missing."""
    graph = "color=red:s=160x90:r=25:d=2,drawbox=color=blue:t=fill:enable='gte(t,1)'"
    codec = ["-c:v", "mpeg2video", "-g", "100", "-q:v", "2", "-an"]
    turning = clips.make("turning.ts", "-f", "lavfi", "-i", graph, *codec)
    joined = joiner.join(Item(solids[0]), turning, crossfade_s=0.4)
    assert joined.duration_s == pytest.approx(3.6, abs=0.1)
    assert [_colour(joiner.output, at_s) for at_s in (2.4, 2.8, 3.4)] == ["red", "blue", "blue"]


def test_a_picture_shorter_than_a_frame_of_the_whole_is_one_frame(clips: Clips, joiner: Joiner) -> None:
    slow = clips.make("slow.mp4", "-f", "lavfi", "-i", "color=red:s=160x90:r=2:d=3", "-c:v", "libx264")
    one = clips.make("one.mp4", "-f", "lavfi", "-i", "color=blue:s=160x90:r=25:d=0.04", "-c:v", "libx264")
    joined = joiner.join(slow, one)
    assert joined.fps == 2
    assert _colour(joiner.output, 3.0) == "blue"


def test_a_crossfade_takes_at_most_half_of_each_side(clips: Clips, prober: Prober, solids: list[Probe]) -> None:
    flash = dataclasses.replace(prober.probe(clips.silent), duration_s=0.2)
    common = matching.plan(solids).shape
    cuts = cut_up([Item(solids[0]), Item(flash), Item(solids[1])], common, 1.0)
    assert [len(cut.parts) for cut in cuts] == [1, 2, 1, 2, 1]
    assert [round((cut.length_s or 0) * 25) for cut in cuts] == [48, 2, 1, 2, 48]
    hard = cut_up([Item(solids[0]), Item(dataclasses.replace(flash, duration_s=0.04))], common, 1.0)
    assert [len(cut.parts) for cut in hard] == [1, 1]


def test_a_truncated_source_does_not_pass_into_a_crossfade_either(clips: Clips, joiner: Joiner, tmp_path: Path) -> None:
    full = clips.make("long.mkv", "-i", str(clips.long), "-c", "copy")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(full.read_bytes()[: full.stat().st_size // 2])
    with pytest.raises(errors.OutputRejected, match=r"cut.mkv was rejected: its picture ends at"):
        joiner.join(cut, clips.plain, crossfade_s=0.3)


def test_a_title_card_stands_before_its_video(solids: list[Probe], joiner: Joiner, tmp_path: Path) -> None:
    cards = []
    for n in range(2):
        card = tmp_path / f"card-100%{n:02d}.png"
        title_card.draw("Whatever it's [called]: {100%}\n\\o/", 160, 90, card)
        cards.append(card)
    items = [Item(source, "t", card, 1.0) for source, card in zip(solids, cards, strict=False)]
    joined = joiner.join(*items)
    assert joined.duration_s == pytest.approx(6.0, abs=0.1)
    assert joiner.starts_s == pytest.approx((0, 3), abs=0.05)
    assert [_colour(joiner.output, at_s) for at_s in (1.5, 4.5)] == ["red", "blue"]
    assert max(_pixel(joiner.output, 0.1)[:1]) < 80


STRANGE_TITLES = ["a=b;c#d\\e", 'it\'s\na "new" line', "100% émoji 🎬", "", "[CHAPTER]", "; a comment"]


def test_chapters_name_their_sources_whatever_these_are_called(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    plain = prober.probe(clips.plain)
    joiner.join(*[Item(plain, title=title) for title in STRANGE_TITLES])
    import av

    with av.open(str(joiner.output)) as container:
        found = [
            (chapter["metadata"].get("title"), chapter["start"] * chapter["time_base"])
            for chapter in container.chapters()
        ]
    assert [title for title, _ in found] == [
        "a=b;c#d\\e", "it's a \"new\" line", "100% émoji 🎬", "–", "[CHAPTER]", "; a comment",
    ]  # fmt: skip
    assert [float(at_s) for _, at_s in found] == pytest.approx([n * (plain.duration_s or 0) for n in range(6)], abs=0.1)


def test_hundreds_of_sources_need_no_more_open_files_than_a_few(prober: Prober, clips: Clips, joiner: Joiner) -> None:
    plain = prober.probe(clips.plain)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, hard))
    try:
        joined = joiner.join(*[Item(plain, title=f"{n}") for n in range(300)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert joined.duration_s == pytest.approx(300 * (plain.duration_s or 0), rel=0.02)
    assert max(len(command) for command in joiner.commands) < 2000


@pytest.mark.parametrize("title", ["", "x" * 400, "word " * 100, "日本語", "\u202eright to left", "\0\n\t"])
@pytest.mark.parametrize("size", [(2, 2), (160, 90), (90, 1600)])
def test_any_title_can_be_drawn_in_any_size(title: str, size: tuple[int, int], tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    title_card.draw(title, *size, card)
    assert verify.verify_image(card) == size
