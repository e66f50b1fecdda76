"""One chaos run from its first clip to its verdict."""

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import queue, tokens
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import FINAL
from media_pipelines.demo import place
from media_pipelines.platform.lock import addresses
from tests.chaos import work
from tests.chaos.storm import Storm
from tests.chaos.verdict import Finding, Verdict
from tests.chaos.victims import Victims
from tests.chaos.watch import AWAY, Watch

# Short, so that kills meet retries and rescues and not waiting.
_HURRIED = {"MEDIA_LEASE_SECONDS": "5", "MEDIA_RETRY_BASE_SECONDS": "0.2", "MEDIA_RETRY_CAP_SECONDS": "2"}
_SAMPLE_EVERY_S = 0.3
_STEP_S = 0.05
_LATE_SHARE = 0.15
_NOTHING_MOVES_FOR_S = 240.0


@dataclass(frozen=True)
class Plan:
    seed: int
    jobs: int
    kills: int
    stops: int
    freeze_s: float = 0
    read_only_s: float = 0


@dataclass
class Told:
    """What came of it."""

    plan: Plan
    took_s: float
    blows: Counter[str]
    jobs: Sequence[Job]
    findings: list[Finding]
    watch: Watch
    home: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.watch.broken and not any(finding.wrong for finding in self.findings)


Show = Callable[["Course"], None]


@contextmanager
def throw_away_platform() -> Iterator[Settings]:
    """Removed at the end where all went well; kept, but stopped, where the block raises or asks to keep it."""
    before = dict(os.environ)
    os.environ.update(_HURRIED)
    settings = place.prepare()
    try:
        place.start()
        yield settings
    finally:
        engine_for(settings).dispose()
        os.environ.clear()
        os.environ.update(before)


class Course:
    def __init__(self, settings: Settings, plan: Plan, say: Callable[[str], None]) -> None:
        self.settings, self.plan, self._say = settings, plan, say
        self._rng = random.Random(plan.seed)
        self.victims = Victims(settings)
        self.watch = Watch(settings, self.victims)
        self.storm = Storm(settings, self.victims, self._rng, say)
        self._accepted: set[UUID] = set()
        self._late: list[NewJob] = []
        self._token = tokens.sign(settings, "SUPER_ADMIN", timedelta(hours=2))

    def run(self, show: Show) -> Told:
        began_s = time.monotonic()
        wanted = work.counts(self.plan.jobs)
        footage = work.make_footage(self.settings, self._rng, wanted)
        self._say(f"{len(list(self.settings.media_library_path.rglob('*.mp4')))} clips made")
        self._enqueue(work.first_scans())
        self._watch_until(self._all_ended, show)
        asked = work.requests(self.settings, self._rng, footage, wanted)
        late = [job for job in asked if "outputPath" in job.params][: int(len(asked) * _LATE_SHARE)]
        self._enqueue([job for job in asked if job not in late])
        self._late = late
        self._plan_storm()
        try:
            self._watch_until(self._storm_is_over_and_all_ended, show)
        finally:
            self.storm.continue_all()
        self._say("The queue is empty; looking at what is there")
        verdict = Verdict(self.settings, self.victims, footage, self._accepted)
        findings = verdict.reach()
        took_s = time.monotonic() - began_s
        return Told(self.plan, took_s, self.storm.done, verdict.jobs, findings, self.watch, str(self.settings.home))

    def _plan_storm(self) -> None:
        self.storm.plan_kills(self.plan.kills)
        self.storm.plan_stops(self.plan.stops, self.settings.lease_seconds)
        if self.plan.freeze_s:
            self.storm.plan_freeze(self.plan.freeze_s)
        if self.plan.read_only_s:
            self.storm.plan_read_only(self.plan.read_only_s)

    @property
    def ended(self) -> int:
        return sum(self.watch.statuses[status.value] for status in FINAL)

    def _all_ended(self) -> bool:
        return self.watch.samples > 0 and self.ended == sum(self.watch.statuses.values()) >= len(self._accepted)

    def _storm_is_over_and_all_ended(self) -> bool:
        share = self.ended / self.plan.jobs
        self.storm.step(share)
        if self._late and share * 1.2 > 1 - len(self._late) / (self.plan.jobs * _LATE_SHARE):
            self._enqueue_through_api()
        return self.storm.over and not self._late and self._all_ended()

    def _watch_until(self, done: Callable[[], bool], show: Show) -> None:
        """Raises TimeoutError where no job ends and nobody is struck for minutes."""
        seen, moved_at_s, sampled_at_s = (-1, -1), time.monotonic(), 0.0
        while True:
            now_s = time.monotonic()
            if now_s - sampled_at_s >= _SAMPLE_EVERY_S:
                sampled_at_s = now_s
                self.watch.sample()
                show(self)
            if done():
                return
            if (self.ended, self.storm.left) != seen:
                seen, moved_at_s = (self.ended, self.storm.left), time.monotonic()
            elif now_s - moved_at_s > _NOTHING_MOVES_FOR_S:
                raise TimeoutError(f"nothing has moved for {_NOTHING_MOVES_FOR_S:.0f} s: {dict(self.watch.statuses)}")
            time.sleep(_STEP_S)

    def _enqueue(self, asked: Sequence[NewJob]) -> None:
        with engine_for(self.settings).begin() as connection:
            self._accepted |= {queue.enqueue(connection, job, self.settings).id for job in asked}

    def _enqueue_through_api(self) -> None:
        """As a client does whose server dies: where no answer came, look whether the job is there, else ask again."""
        found = self._posted(self._late[-1]) or self._found(self._late[-1])
        if found is not None:
            self._accepted.add(found)
            self._late.pop()

    def _posted(self, job: NewJob) -> UUID | None:
        body: dict[str, Any] = {"type": job.type, "params": job.params, "priority": job.priority}
        body["maxRetries"] = job.max_retries
        request = urllib.request.Request(
            f"{addresses(self.settings)[0]}/api/media/jobs",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as refused:
            if refused.code < 500 and refused.code != 409:
                raise AssertionError(refused.read().decode()) from refused
            return None
        except (OSError, ValueError):
            return None
        return UUID((answer.get("job") or answer)["id"])

    def _found(self, job: NewJob) -> UUID | None:
        named = jobs.c.params["outputPath"].astext == job.params["outputPath"]
        try:
            with engine_for(self.settings).connect() as connection:
                return connection.scalar(sa.select(jobs.c.id).where(named))
        except AWAY:
            return None


def outcomes(told: Sequence[Job]) -> dict[str, Counter[str]]:
    """By type, how the jobs ended and how many attempts they took."""
    by_type: dict[str, Counter[str]] = {}
    for job in told:
        seen = by_type.setdefault(job.type, Counter())
        seen[job.status.value] += 1
        seen["attempts"] += job.attempt
        seen["retried"] += job.attempt > 1
    return by_type
