"""Scores of real encodes, and the search for the CRF that reaches one."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from media_pipelines.media import encoders, errors, quality, streaming
from media_pipelines.media.commands.rendition import encode
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.plan import Crf, EncodePlan, Metric, Target
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.quality import Found, Try
from tests.media.conftest import Clips

WAY = Way(Encoder("libx264", hardware=False, reason="a test"))


def execute(command: Sequence[str], duration_s: float, on_line: Callable[[str], None]) -> None:
    run(command, duration_s=duration_s, on_line=on_line)


def plan_for(source: Probe, wanted: Crf | Target) -> EncodePlan:
    return streaming.rendition(source, quality=wanted, preset="ultrafast", max_bitrate_kbps=None)


def search(ffmpeg: Path, source: Probe, target: Target, folder: Path) -> Found:
    video = plan_for(source, target).video
    assert video is not None
    return quality.search(ffmpeg, source, video, WAY, workfile=folder / "sample.mkv", execute=execute)


def score(ffmpeg: Path, source: Probe, crf: int, metric: Metric, folder: Path) -> float:
    plan = plan_for(source, Crf(crf))
    assert plan.video is not None
    run(encode(ffmpeg, source, folder / "made.mp4", plan, WAY), duration_s=source.duration_s)
    return quality.score(ffmpeg, source, plan.video, WAY, folder / "made.mp4", metric, execute=execute)


@pytest.mark.parametrize(("metric", "fine", "coarse"), [("xpsnr", 35.0, 25.0), ("vmaf", 90.0, 60.0)])
def test_a_finer_encode_scores_higher(
    ffmpeg: Path, plain: Probe, tmp_path: Path, metric: Metric, fine: float, coarse: float
) -> None:
    assert score(ffmpeg, plain, 10, metric, tmp_path) > fine
    assert score(ffmpeg, plain, 45, metric, tmp_path) < coarse


def test_the_search_finds_the_highest_crf_that_is_good_enough(ffmpeg: Path, plain: Probe, tmp_path: Path) -> None:
    found = search(ffmpeg, plain, Target("xpsnr", 33.0), tmp_path)
    assert found.best.score >= 33.0
    assert len(found.tries) <= quality.MAX_TRIES
    assert list(tmp_path.iterdir()) == []
    worse = [each for each in found.tries if each.crf > found.best.crf]
    assert all(each.score < 33.0 for each in worse)
    assert found.best.score - 33.0 < 1.0
    whole = plan_for(plain, Crf(found.best.crf))
    run(encode(ffmpeg, plain, tmp_path / "o.mp4", whole, WAY), duration_s=1)
    assert found.best.size_bytes == pytest.approx((tmp_path / "o.mp4").stat().st_size, rel=0.5)


def test_a_score_out_of_reach_says_what_came_nearest(ffmpeg: Path, plain: Probe, tmp_path: Path) -> None:
    with pytest.raises(errors.TargetUnreachable, match=r"does not reach xpsnr 99: the best try, CRF \d+, gave"):
        search(ffmpeg, plain, Target("xpsnr", 99.0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_is_missing_is_named(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho \"[AVFilterGraph @ 0x55] No such filter: 'libvmaf'\" >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(errors.MetricMissing, match="cannot measure vmaf: No such filter: 'libvmaf'"):
        quality.require_metric(program, "vmaf")


def test_scaled_deinterlaced_and_tone_mapped_pictures_are_compared_with_the_same_of_the_source(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    """Were the filters not applied to the source, too, no CRF would come near."""
    for clip in (clips.interlaced, clips.hdr10):
        source = prober.probe(clip)
        plan = plan_for(source, Crf(4))
        assert plan.video is not None
        smaller = dataclasses.replace(plan, video=dataclasses.replace(plan.video, width=80, height=46))
        assert smaller.video is not None
        way = dataclasses.replace(WAY, tone_map=encoders.ways(ffmpeg, smaller.video, prefer_hardware=False)[0].tone_map)
        run(encode(ffmpeg, source, tmp_path / "made.mp4", smaller, way), duration_s=1)
        assert quality.score(ffmpeg, source, smaller.video, way, tmp_path / "made.mp4", "xpsnr", execute=execute) > 36


def test_samples_are_spread_and_never_more_than_the_video() -> None:
    assert quality.samples(2.0) == (quality.Sample(0.0, 2.0),)
    film = quality.samples(7200.0, 25.0)
    assert len(film) == 8
    assert all(0 < part.start_s < 7180 and part.length_s == 20 for part in film)
    assert all(later.start_s - part.start_s > 600 for part, later in itertools.pairwise(film))
    episode = quality.samples(120.0, 25.0)
    assert [round(part.start_s) for part in episode] == [10, 50, 90]


def simulated(score_of: Callable[[int], float], target: float) -> tuple[list[int], int | None]:
    """The CRFs tried on an encoder whose scores are a formula, and the one chosen."""
    tries: list[Try] = []
    wanted = Target("vmaf", target)
    for crf in quality._next_crfs("hevc", wanted, tries):
        tries.append(Try(crf, score_of(crf), 0))
    good = [each.crf for each in tries if each.score >= target]
    return [each.crf for each in tries], max(good, default=None)


@pytest.mark.parametrize("target", [60.0, 80.0, 90.0, 95.0, 97.0, 99.0])
@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
def test_the_search_converges_within_its_tries(target: float, bend: float) -> None:
    def vmaf(crf: int) -> float:
        return 100 - 60 * (crf / 51) ** bend

    tried, chosen = simulated(vmaf, target)
    best = max((crf for crf in range(6, 52) if vmaf(crf) >= target), default=None)
    assert len(tried) <= quality.MAX_TRIES
    assert len(set(tried)) == len(tried)
    if best is None:
        assert chosen is None
    else:
        assert chosen is not None
        assert vmaf(chosen) - target <= 1.0 or chosen == best


def test_slow_motion_is_searched_and_scored_at_the_rate_that_it_gets(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    source = prober.probe(clips.picture("slow-motion.mp4", "160x90", "240"))
    assert search(ffmpeg, source, Target("xpsnr", 30.0), tmp_path).best.score >= 30.0
    assert score(ffmpeg, source, 10, "xpsnr", tmp_path) > 35.0
