"""Several videos as one: copied where they match, else made of pieces, and read back."""

import math
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media_pipelines.media import errors, files, verify
from media_pipelines.media.commands.pieces import chapters, concat, concat_copy, concat_list, piece, same_picture
from media_pipelines.media.cuts import Cut, Item, cut_up
from media_pipelines.media.encoders import Way
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.matching import MAX_FPS, CompilePlan, plan, timescale
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.writeback import written_back

ProgressDetail = dict[str, float | int | str | None]
OnProgress = Callable[[float, ProgressDetail], None]
# The last part of the bar: joining is a copy, the pieces are the work.
_JOINING_PERCENT = 5.0
_PART_MAY_MISS_S = 0.5
# Size, time, composition offset, key frame and chunk of a sample, were each in a table entry of its own. (Seen: 9.)
_INDEX_BYTES_PER_SAMPLE = 40
_NO_ROOM = "reserved_moov_size is too small"
# Uncompressed stereo at 48 kHz.
_SOUND_BYTES_PER_S = 192_000


@dataclass(frozen=True)
class Joined:
    """What came of it. `starts_s`: when each item begins; `how`: in words, what was copied and what encoded."""

    result: Probe
    starts_s: tuple[float, ...]
    how: str


def join(
    ffmpeg: Path,
    prober: Prober,
    items: Sequence[Item],
    output_partial: Path,
    *,
    workdir: Path,
    choose_way: Callable[[], Way],
    preset: str,
    crf: int,
    crossfade_s: float = 0.0,
    size: tuple[int, int] | None = None,
    on_progress: OnProgress | None = None,
    stop: Callable[[], str | None] | None = None,
    on_line: Callable[[str], None] | None = None,
    on_command: Callable[[str], None] | None = None,
    stall_timeout_s: float = 300,
) -> Joined:
    """Join sources, or parts of them, into `output_partial` and read it back. A chapter begins at each item that has a
    title. `size` is the picture's width and height; by default what most of the sources have.

    Sources that match are copied. Otherwise each becomes a piece; its picture is encoded unless it has the common
    shape already and the encoded ones turn out to have the very same configuration. Pieces are made one after the
    other, so neither command lines nor open files grow with their number.

    `choose_way` is asked once, when something must be encoded. `on_progress` gets a percentage of the whole and a
    detail with `piece`, `pieces`, `fps`, `speed`, `eta_s`, `out_time_s`, `size_bytes`. Temporaries live in a folder of
    their own below `workdir`, removed in the end. Raises OutputRejected, DiskFull, and what `ffmpeg.run` raises.
    """
    sources = [item.source for item in items]
    chosen = plan(sources)
    if size is not None and size != (chosen.width, chosen.height):
        chosen = replace(chosen, copy=False, alike=frozenset(), width=size[0], height=size[1], reason="another size")

    def run_one(command: list[str], duration_s: float | None, report: Callable[[Progress], None]) -> None:
        if on_command:
            on_command(shlex.join(command))
        run(
            command,
            duration_s=duration_s,
            on_progress=report,
            stop=stop,
            stall_timeout_s=stall_timeout_s,
            on_line=on_line,
        )

    folder = Path(tempfile.mkdtemp(prefix="join-", dir=workdir))
    try:
        untouched = chosen.copy and not crossfade_s and all(_is_untouched(item) for item in items)
        planned = [] if untouched else cut_up(items, chosen.shape, crossfade_s)
        lengths_s = [source.duration_s for source in sources] if untouched else [cut.length_s for cut in planned]
        progress = _JoinProgress(math.fsum(length_s or 1.0 for length_s in lengths_s), len(items), on_progress)
        if untouched:
            files.require_free_space(output_partial, sum(source.size_bytes for source in sources))
            pieces, starts_s, length_s = _linked(sources, folder), _starts(sources), chosen.duration_s
            how = f"{len(sources)} sources copied: {chosen.reason}"
        else:
            _require_space_for_pieces(workdir, items)
            maker = _Maker(ffmpeg, prober, folder, items, chosen, choose_way, preset, crf, run_one, progress)
            made = maker.make(planned)
            pieces, starts_s, length_s = made.paths, made.starts_s, made.length_s
            how = f"{made.how}: {chosen.reason}"
        list_file = folder / "list.ffconcat"
        list_file.write_text(concat_list(pieces))
        build = concat_copy if untouched else concat
        named = _chapters(items, starts_s, length_s, folder)
        room = _index_bytes(sources, length_s, len(items))
        joining = progress.joining(copies=untouched)
        with written_back(output_partial):
            try:
                run_one(build(ffmpeg, list_file, output_partial, chapters=named, index_bytes=room), length_s, joining)
            except errors.FfmpegFailed as error:
                if room is None or not any(_NO_ROOM in line for line in error.stderr_tail):
                    raise
                run_one(build(ffmpeg, list_file, output_partial, chapters=named), length_s, joining)
            result = verify.verify_joined(
                prober,
                output_partial,
                expect_duration_s=length_s,
                has_audio=chosen.has_audio,
                copied=untouched,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Joined(result, tuple(starts_s), how)


def _index_bytes(sources: Sequence[Probe], length_s: float | None, chapters: int) -> int | None:
    """More than the index of an MP4 of these sources can take; None where that cannot be told."""
    if length_s is None:
        return None
    frames_per_s = max(source.fps or MAX_FPS for source in sources) + 1
    packets_per_s = max((stream.sample_rate_hz or 0 for source in sources for stream in source.audio), default=0) / 960
    return round(length_s * (frames_per_s + packets_per_s) * _INDEX_BYTES_PER_SAMPLE) + 65_536 + 1_024 * chapters


def _is_untouched(item: Item) -> bool:
    return item.is_whole and not item.card and not item.levelling


def _require_space_for_pieces(workdir: Path, items: Sequence[Item]) -> None:
    seconds = math.fsum(item.duration_s or 0 for item in items)
    files.require_free_space(workdir, sum(_size_bytes(item) for item in items) + round(seconds * _SOUND_BYTES_PER_S))


def _size_bytes(item: Item) -> int:
    """Of a part, its share of the source."""
    whole_s, size_bytes = item.source.duration_s, item.source.size_bytes
    return round(size_bytes * (item.duration_s or whole_s) / whole_s) if whole_s else size_bytes


def _starts(sources: Sequence[Probe]) -> list[float]:
    starts_s = [0.0]
    for source in sources[:-1]:
        starts_s.append(starts_s[-1] + (source.duration_s or 0))
    return starts_s


def _chapters(items: Sequence[Item], starts_s: Sequence[float], length_s: float | None, folder: Path) -> Path | None:
    if length_s is None or not any(item.title for item in items):
        return None
    path = folder / "chapters.txt"
    titles = [(at_s, item.title) for at_s, item in zip(starts_s, items, strict=True) if item.title is not None]
    path.write_text(chapters(titles, length_s))
    return path


def _linked(sources: Sequence[Probe], folder: Path) -> list[Path]:
    """Links under plain names: a concat list cannot hold every name."""
    links = []
    for n, source in enumerate(sources):
        link = folder / f"{n:05d}{_plain_suffix(source.path)}"
        link.symlink_to(source.path.absolute())
        links.append(link)
    return links


def _plain_suffix(path: Path) -> str:
    return path.suffix if path.suffix.isascii() and path.suffix.isprintable() else ""


@dataclass(frozen=True)
class _Made:
    paths: list[Path]
    starts_s: list[float]
    length_s: float | None
    how: str


class _Maker:
    """Makes pieces that can be joined by copying their pictures."""

    def __init__(
        self,
        ffmpeg: Path,
        prober: Prober,
        folder: Path,
        items: Sequence[Item],
        chosen: CompilePlan,
        choose_way: Callable[[], Way],
        preset: str,
        crf: int,
        run_one: Callable[[list[str], float | None, Callable[[Progress], None]], None],
        progress: "_JoinProgress",
    ) -> None:
        self._ffmpeg = ffmpeg
        self._prober = prober
        self._folder = folder
        self._items = items
        self._chosen = chosen
        self._choose_way = choose_way
        self._way: Way | None = None
        self._preset = preset
        self._crf = crf
        self._run_one = run_one
        self._progress = progress
        alike = items[min(chosen.alike)].source if chosen.alike else None
        self._timescale = timescale(alike) if alike else None
        self._kept_config = alike.video.config if alike else None

    def make(self, planned: Sequence[Cut]) -> _Made:
        """Those that must be encoded come first: what they turn out to be decides whether the others can stay."""
        could_stay = {k for k, cut in enumerate(planned) if cut.whole and cut.item in self._chosen.alike}
        probes: dict[int, Probe] = {}
        stay = could_stay
        for k in [*(k for k in range(len(planned)) if k not in could_stay), *sorted(could_stay)]:
            probes[k] = self._make(k, planned[k], keep_picture=k in stay)
            if k not in could_stay and probes[k].video.config != self._kept_config:
                stay = set()
        lengths_s = [probes[k].duration_s for k in range(len(planned))]
        starts_s, at_s = [], 0.0
        for cut, length_s in zip(planned, lengths_s, strict=True):
            if cut.opens:
                starts_s.append(at_s)
            at_s += length_s or 0
        return _Made(
            [self._path(k) for k in range(len(planned))],
            starts_s,
            at_s if all(lengths_s) else None,
            self._how(len(stay), len(planned), could_stay=len(could_stay)),
        )

    def _path(self, k: int) -> Path:
        return self._folder / f"{k:05d}.mov"

    def _make(self, k: int, cut: Cut, *, keep_picture: bool) -> Probe:
        path = self._path(k)
        self._run_one(self._command(cut, path, keep_picture=keep_picture), cut.length_s, self._progress.piece(cut))
        if cut.whole:
            verify.verify_piece(self._prober, self._items[cut.item].source, path)
        made = self._prober.probe(path)
        if not cut.whole:
            _require_picture(cut, made)
        return made

    def _command(self, cut: Cut, path: Path, *, keep_picture: bool) -> list[str]:
        with_audio = self._chosen.has_audio
        if keep_picture:
            return same_picture(self._ffmpeg, cut.parts[0], path, with_audio=with_audio, timescale=self._timescale)
        if self._way is None:
            self._way = self._choose_way()
        return piece(
            self._ffmpeg,
            cut.parts,
            path,
            shape=self._chosen.shape,
            way=self._way,
            preset=self._preset,
            crf=self._crf,
            with_audio=with_audio,
            timescale=self._timescale,
        )

    def _how(self, stayed: int, pieces: int, *, could_stay: int) -> str:
        words = f"{stayed} of {pieces} pictures copied, the others encoded" if stayed else f"{pieces} pieces encoded"
        if could_stay > stayed:
            words += f" ({could_stay} had the common shape, but other encoder settings than ours)"
        return words


def _require_picture(cut: Cut, made: Probe) -> None:
    """That a part of a source shows it to the end: sound is padded, so that the length alone says nothing."""
    shown_s = made.video.duration_s or made.duration_s or 0.0
    source = cut.parts[-1].source
    if cut.length_s is not None and isinstance(source, Probe) and shown_s < cut.length_s - _PART_MAY_MISS_S:
        ended_s = cut.parts[-1].start_s + shown_s
        raise errors.OutputRejected(source.path, (f"its picture ends at {ended_s:.2f} s, before it should",))


class _JoinProgress:
    """Adds up the progress of several runs of ffmpeg."""

    def __init__(self, total_s: float, items: int, on_progress: OnProgress | None) -> None:
        self._total_s = total_s
        self._items = items
        self._done_s = 0.0
        self._on_progress = on_progress

    def piece(self, cut: Cut) -> Callable[[Progress], None]:
        before_s, length_s = self._done_s, cut.length_s or 1.0
        self._done_s += length_s

        def report(progress: Progress) -> None:
            done_s = min(self._total_s, before_s + min(progress.out_time_s, length_s))
            share = 100 - _JOINING_PERCENT
            self._report(progress, done_s, share * done_s / self._total_s, item=cut.item + 1)

        return report

    def joining(self, *, copies: bool) -> Callable[[Progress], None]:
        share = 100.0 if copies else _JOINING_PERCENT

        def report(progress: Progress) -> None:
            done_s = min(progress.out_time_s, self._total_s)
            self._report(progress, done_s, 100 - share + share * done_s / self._total_s, item=self._items)

        return report

    def _report(self, progress: Progress, done_s: float, percent: float, *, item: int) -> None:
        if self._on_progress is None:
            return
        eta_s = (self._total_s - done_s) / progress.speed if progress.speed > 0 else None
        detail: ProgressDetail = {
            "piece": item,
            "pieces": self._items,
            "fps": progress.fps,
            "speed": progress.speed,
            "eta_s": eta_s,
            "out_time_s": done_s,
            "size_bytes": progress.size_bytes,
        }
        self._on_progress(min(100.0, percent), detail)
