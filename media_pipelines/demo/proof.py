"""Whether every job's output is really there and sound: read anew from the files, whatever the rows say."""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus, JobType
from media_pipelines.demo.course import View
from media_pipelines.media import matching, streaming, verify
from media_pipelines.media.errors import MediaError
from media_pipelines.media.plan import Crf
from media_pipelines.media.prober import Prober


class _Missing(Exception):
    """A file or a name of one that a completed job owes."""


class Proof:
    """Verdicts on the outputs of completed jobs."""

    def __init__(self, settings: Settings, view: View) -> None:
        self._root = settings.media_library_path
        self._paths = view.paths
        self.problems: dict[UUID, str] = {}
        self.verified: list[UUID] = []

    def verify(self, jobs: Iterable[Job]) -> None:
        with Prober() as prober:
            for job in jobs:
                if job.status == JobStatus.COMPLETED and job.type in _CHECKS:
                    self._verify(job, prober)

    def _verify(self, job: Job, prober: Prober) -> None:
        try:
            _CHECKS[JobType(job.type)](self, job, prober)
        except (MediaError, _Missing, OSError) as error:
            self.problems[job.id] = str(error)
        else:
            self.verified.append(job.id)

    def rendition(self, job: Job, prober: Prober) -> None:
        """It opens, decodes to its end, lasts as long as its source and has its streams."""
        assert job.video_id is not None
        source = prober.probe(self._file(self._paths.get(job.video_id)))
        plan = streaming.rendition(source, quality=Crf(23), preset="medium", max_bitrate_kbps=None)
        verify.verify_encode(prober, source, plan, self._output(job))

    def compilation(self, job: Job, prober: Prober) -> None:
        """It opens, decodes to its end, and lasts as long as its sources together."""
        joined = matching.plan([prober.probe(self._file(self._paths.get(source))) for source in self._sources(job)])
        verify.verify_joined(prober, self._output(job), expect_duration_s=joined.duration_s, has_audio=joined.has_audio)

    def grid(self, job: Job, prober: Prober) -> None:
        """It opens, decodes to its end, and lasts as long as the longest of its four."""
        sources = [prober.probe(self._file(self._paths.get(source))) for source in self._sources(job)]
        verify.verify_joined(
            prober,
            self._output(job),
            expect_duration_s=max(source.duration_s or 0 for source in sources),
            has_audio=any(source.has_audio for source in sources),
        )

    def digest(self, job: Job, prober: Prober) -> None:
        """It lasts as long as was planned, with sound if its source has any."""
        (source,) = [prober.probe(self._file(self._paths.get(video_id))) for video_id in self._sources(job)]
        verify.verify_joined(
            prober,
            self._output(job),
            expect_duration_s=(job.result or {}).get("plannedSeconds"),
            has_audio=source.has_audio,
        )

    def animation(self, job: Job, prober: Prober) -> None:
        """Every picture of it is whole, and there is more than one."""
        del prober
        path = self._output(job)
        if len(verify.shown_ms(path)) < 2:
            raise _Missing(f"{path.name} does not move")

    def picture(self, job: Job, prober: Prober) -> None:
        """It is a whole image."""
        del prober
        verify.verify_image(self._output(job))

    def _sources(self, job: Job) -> list[UUID]:
        sources = [UUID(given) for given in (job.result or {}).get("sourceVideoIds", [])]
        if not sources:
            raise _Missing("its result names no sources")
        return sources

    def _output(self, job: Job) -> Path:
        return self._file((job.result or {}).get("outputPath"))

    def _file(self, relative: str | None) -> Path:
        path = self._root / relative if relative else None
        if path is None or not path.is_file():
            raise _Missing(f"there is no file {relative}")
        return path


_CHECKS = {
    JobType.REENCODE_STREAMING: Proof.rendition,
    JobType.COMPILE_RANDOM: Proof.compilation,
    JobType.COMPILE_QUAD: Proof.grid,
    JobType.COMPILE_GIF: Proof.animation,
    JobType.DIGEST_GENERATE: Proof.digest,
    JobType.THUMBNAIL_GENERATE: Proof.picture,
}


def left_over(settings: Settings) -> list[str]:
    """Half-written files, of which there must be none."""
    root = settings.media_library_path
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.partial*"))


def unknown(paths: Iterable[str], view: View) -> list[str]:
    """Files that were put into the library and that no scan has found."""
    return sorted(set(paths) - set(view.paths.values()))
