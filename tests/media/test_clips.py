from pathlib import Path

from media_pipelines.media import clips
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober


def test_the_samples_are_varied_and_whole(ffmpeg: Path, prober: Prober, tmp_path: Path) -> None:
    paths = clips.make_clips(ffmpeg, tmp_path, len(clips.SAMPLES))
    probes = [prober.probe(path, decode_frames=5) for path in paths]
    assert {probe.orientation for probe in probes} == {"landscape", "portrait"}
    assert {probe.video_codec for probe in probes} >= {"h264"}
    assert any(not probe.has_audio for probe in probes)
    assert any(_is_rich(probe) for probe in probes)
    assert any(probe.rotation for probe in probes)
    assert all(2.9 < (probe.duration_s or 0) < 6.1 for probe in probes)
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def _is_rich(probe: Probe) -> bool:
    return len(probe.audio) == 2 and len(probe.of_kind("subtitle")) == 1


def test_samples_that_exist_are_kept(ffmpeg: Path, tmp_path: Path) -> None:
    [first] = clips.make_clips(ffmpeg, tmp_path, 1)
    written_at = first.stat().st_mtime_ns
    assert clips.make_clips(ffmpeg, tmp_path, 1) == [first]
    assert first.stat().st_mtime_ns == written_at
