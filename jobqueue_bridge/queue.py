"""The statements on `jobs`: asking for work, looking, moving, putting right. A running attempt's own are in `lease.py`,
the dispatcher's in `dispatching.py`, those of the log in `logs.py`.

Functions take a connection; the caller owns the transaction. A status changes only by an UPDATE that names the
statuses it may leave. What a row must lose or gain with its status (lease, VRAM, waiting text, date of the end) is a
trigger's work, because other programs move jobs, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import admission, counters, history, params, videos
from jobqueue_bridge.devices import VRAM_UNIT_MB, gpu_of_first_unit
from jobqueue_bridge.errors import (
    AmbiguousJob,
    FieldProblem,
    InvalidJob,
    JobAlreadyLive,
    JobArchived,
    JobNotFound,
    MoveForbidden,
)
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import (
    job_attempts,
    job_counters,
    job_leases,
    job_tallies,
    jobs,
    jobs_archive,
    utcnow,
)
from jobqueue_bridge.text import id_range
from jobqueue_bridge.vocabulary import (
    FINAL,
    LIVE,
    MOVES,
    NEEDS,
    PRIORITY_DEFAULT,
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    JobStatus,
    JobType,
    Origin,
    Outcome,
    ResourceCategory,
)

_ARRIVALS_LOCK = 7_261_114_017
LIBRARY = "library"
NOT_BEGUN = "its run waits in Dagster's queue"


@dataclass(frozen=True)
class Job:
    """A row of `jobs`, without its log."""

    id: UUID
    type: str
    status: JobStatus
    params: dict[str, Any]
    progress: int
    priority: int
    queue_position: int | None
    waiting_reason: str | None
    resource_category: str
    vram_required: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    retry_count: int
    max_retries: int
    retry_after: datetime | None
    attempt: int
    run_id: str | None
    host: str | None
    gpu: int | None
    """Whose VRAM it holds while it is queued or has a run; None: it holds none."""
    video_id: UUID | None
    origin: str
    error: str | None
    progress_detail: dict[str, Any] | None
    result: dict[str, Any] | None
    parent_id: UUID | None
    version: int = 0
    """Grows with every change of the row."""
    waiting_run_id: str | None = None
    """The run, launched in Dagster itself, that waits to do the job."""
    partition_key: str | None = None
    """The partition that the job makes, where it is not its video's or its own."""
    held: bool = False
    """Pending, and nothing admits it: until its parent has completed, or until whoever held it lifts it."""


@dataclass(frozen=True)
class NewJob:
    """What somebody asks for. Where category and VRAM are None, the type's own are taken."""

    type: str
    params: Any
    priority: int = PRIORITY_DEFAULT
    resource_category: str | None = None
    vram_required: int | None = None
    max_retries: int = 3
    origin: Origin = Origin.API
    parent_id: UUID | None = None
    """The job that must complete first."""
    waiting_run_id: str | None = None
    partition_key: str | None = None


@dataclass(frozen=True)
class Filters:
    status: JobStatus | None = None
    type: str | None = None
    resource_category: ResourceCategory | None = None
    video_id: UUID | None = None


@dataclass(frozen=True)
class Page:
    jobs: Sequence[Job]
    total: int


@dataclass(frozen=True)
class Checked:
    """A request that can run: typed params and the videos that they name."""

    kind: JobType
    params: params.Params
    video_id: UUID | None


# Old rows of an adopted table may hold NULL where the specification has a default.
_DEFAULT_FOR_NULL: Mapping[str, Any] = {
    "progress": 0,
    "vram_required": 0,
    "retry_count": 0,
    "max_retries": 3,
    "version": 0,  # of rows that were archived before there were any
    "held": False,
}


def columns_of(rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """A `Job`'s columns, of rows that are like those of `jobs`."""
    return [_column_of(rows, item.name) for item in fields(Job)]


def _column_of(rows: sa.FromClause, name: str) -> sa.ColumnElement[Any]:
    if name == "gpu":
        return gpu_of_first_unit(rows.c.vram_units).label(name)
    if name in _DEFAULT_FOR_NULL:
        return sa.func.coalesce(rows.c[name], _DEFAULT_FOR_NULL[name]).label(name)
    return rows.c[name]


COLUMNS = columns_of(jobs)


def job_of(values: Sequence[Any]) -> Job:
    """From the values of COLUMNS, in their order."""
    job_id, kind, status, *rest = values
    return Job(job_id, kind, JobStatus(status), *rest)


def status_in(wanted: Iterable[JobStatus]) -> sa.ColumnElement[bool]:
    """Written out in the statement, so that the partial indexes also fit a prepared plan."""
    names = [status.value for status in wanted]
    return jobs.c.status.in_(sa.bindparam("status", names, expanding=True, literal_execute=True, unique=True))


def holds_lease() -> sa.ColumnElement[bool]:
    """Running, or paused in mid-run."""
    return sa.or_(
        status_in([JobStatus.RUNNING]), sa.and_(status_in([JobStatus.PAUSED]), jobs.c.lease_token.is_not(None))
    )


# Asking for work


def check_fields(job: NewJob, settings: Settings) -> tuple[JobType, params.Params]:
    """As much as can be said without the database. Raises InvalidJob that names every field that is wrong."""
    kind = params.job_type(job.type)
    problems = [*_envelope_problems(job, settings)]
    try:
        parsed = params.parse(kind, job.params)
    except InvalidJob as error:
        raise InvalidJob([*problems, *error.problems]) from error
    if problems:
        raise InvalidJob(problems)
    return kind, parsed


def check(connection: sa.Connection, job: NewJob, settings: Settings) -> Checked:
    """Raises InvalidJob as `check_fields`, and where a video that the params name, or the parent, is not there."""
    kind, parsed = check_fields(job, settings)
    video, missing = _find_video(connection, parsed)
    if problem := parent_problem(connection, job.parent_id):
        missing = [*missing, FieldProblem("parentId", problem)]
    if missing:
        raise InvalidJob(missing)
    return _checked(kind, parsed, video)


def _checked(kind: JobType, parsed: params.Params, video: UUID | None) -> Checked:
    if video is None:
        return Checked(kind, parsed, None)
    if "video_id" in type(parsed).model_fields:  # the same job, whether it named the video by id or by path
        parsed = parsed.model_copy(update={"video_id": video})
    return Checked(kind, parsed, video)


def _envelope_problems(job: NewJob, settings: Settings) -> Iterable[FieldProblem]:
    if not PRIORITY_HIGHEST <= job.priority <= PRIORITY_LOWEST:
        yield FieldProblem(
            "priority", f"must be {PRIORITY_HIGHEST} (first) to {PRIORITY_LOWEST} (last), got {job.priority}"
        )
    if job.resource_category is not None and job.resource_category not in set(ResourceCategory):
        allowed = ", ".join(ResourceCategory)
        yield FieldProblem("resourceCategory", f"must be one of {allowed}, got {job.resource_category!r}")
    if not 0 <= job.max_retries <= 100:
        yield FieldProblem("maxRetries", f"must be 0 to 100, got {job.max_retries}")
    wanted = job.vram_required
    if wanted is None and job.type in NEEDS:
        wanted = NEEDS[JobType(job.type)].vram_mb
    if wanted is not None and wanted < 0:
        yield FieldProblem("vramRequired", f"must not be negative, got {wanted}")
    if wanted is not None and admission.units_needed(wanted) * VRAM_UNIT_MB > settings.most_vram_mb:
        yield FieldProblem("vramRequired", f"{wanted} MB is more than {_most_vram(settings)}")


def _most_vram(settings: Settings) -> str:
    if len(settings.devices) == 1:
        return f"the whole budget of {settings.total_vram_mb} MB"
    largest = max(settings.devices, key=lambda device: device.vram_mb)
    return f"the {largest.vram_mb} MB of {largest}, the largest: a job runs on one GPU"


def _find_video(
    connection: sa.Connection, parsed: params.Params, known: Mapping[UUID, str] | None = None
) -> tuple[UUID | None, list[FieldProblem]]:
    """`known`: where the videos lie that the params name, if somebody has looked already."""
    named = parsed.video_ids()
    if named:
        known = videos.paths(connection, named) if known is None else known
        if "video_id" not in type(parsed).model_fields:  # it is about several, and so about none of them
            return None, [_no_video("videoIds", video_id) for video_id in named if video_id not in known]
        if named[0] not in known:
            return None, [_no_video("videoId", named[0])]
        return named[0], _overwrites(known[named[0]], parsed)
    path = getattr(parsed, "input_path", None)
    if path is None:
        return None, []
    found = videos.id_by_path(connection, path)
    if found is None:
        return None, [FieldProblem("params.inputPath", f"there is no video at {path!r}: scan its folder first")]
    return found, _overwrites(path, parsed)


def _no_video(field: str, video_id: UUID) -> FieldProblem:
    return FieldProblem(f"params.{field}", f"there is no video {video_id}")


def _overwrites(source: str, parsed: params.Params) -> list[FieldProblem]:
    output = getattr(parsed, "output_path", None)
    if output is None or output not in (source, getattr(parsed, "input_path", None)):
        return []
    return [FieldProblem("params.outputPath", f"must not be the source itself, {output!r}")]


def parent_problem(connection: sa.Connection, parent_id: UUID | None) -> str | None:
    """Why no job can wait for this one: it will never complete. None: it has or may, or no parent is named."""
    if parent_id is None or connection.scalar(sa.select(jobs.c.id).where(jobs.c.id == parent_id)) is not None:
        return None
    ended = connection.scalar(sa.select(jobs_archive.c.status).where(jobs_archive.c.id == parent_id))
    if ended is None:
        return f"there is no job {parent_id}"
    if ended == JobStatus.COMPLETED:
        return None
    return f"job {parent_id} is {ended} and in the archive, where it stays so"


def enqueue(connection: sa.Connection, job: NewJob, settings: Settings) -> Job:
    """Raises InvalidJob, or JobAlreadyLive where a live job does the same. With a parent that has not completed, the
    job is held until it has."""
    checked = check(connection, job, settings)
    return _insert(connection, job, checked, JobStatus.PENDING)


def enqueue_chains(connection: sa.Connection, chains: Sequence[Sequence[NewJob]], settings: Settings) -> int:
    """Of each chain every job as the child of the one before; returns how many were added.

    Where a live job does the same already, it takes its place in the chain. Thousands take seconds. Raises InvalidJob.
    """
    checked = _check_all(connection, chains, settings)
    parents: list[UUID | None] = [chain[0].parent_id if chain else None for chain in chains]
    added = 0
    for at in range(max(map(len, chains), default=0)):
        links = [
            _Link(number, uuid4(), replace(chain[at], parent_id=parents[number]), checked[number][at])
            for number, chain in enumerate(chains)
            if at < len(chain)
        ]
        inserted = _insert_all(connection, links, at)
        added += len(inserted)
        for link in links:
            parents[link.chain] = link.id if link.id in inserted else _twin(connection, link)
    return added


@dataclass(frozen=True)
class _Link:
    """A job in its chain."""

    chain: int
    id: UUID
    job: NewJob
    checked: Checked


def _insert_all(connection: sa.Connection, links: Sequence[_Link], at: int) -> set[UUID]:
    """Those that no live job does already. All in one parameter: to number twelve of each would take most of the time.

    `at`: the place in the chain, as microseconds of age, so that whatever goes by age meets a parent before its
    children, although all are of one transaction.
    """
    rows = [{"id": link.id, **_values(link.job, link.checked, JobStatus.PENDING)} for link in links]
    names = list(rows[0])
    given = sa.bindparam("rows", [_plain(row) for row in rows], type_=pg.JSONB)
    row = (
        sa.func.jsonb_to_recordset(given)
        .table_valued(*(sa.column(name, jobs.c[name].type) for name in names), name="row")
        .render_derived(with_types=True)
    )
    created_at = utcnow() + sa.func.make_interval(0, 0, 0, 0, 0, 0, at / 1e6)
    inserted = pg.insert(jobs).from_select([*names, "created_at"], sa.select(*row.c, created_at))
    return set(connection.scalars(inserted.on_conflict_do_nothing(**_WHILE_LIVE).returning(jobs.c.id)))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}


def _check_all(
    connection: sa.Connection, chains: Sequence[Sequence[NewJob]], settings: Settings
) -> list[list[Checked]]:
    """As `check`, with one look for all videos that are named by their ids."""
    parsed = [[check_fields(job, settings) for job in chain] for chain in chains]
    named = {video_id for chain in parsed for _, of_it in chain for video_id in of_it.video_ids()}
    known = videos.paths(connection, named)
    checked, problems = [], []
    for chain in parsed:
        found = [(kind, of_it, *_find_video(connection, of_it, known)) for kind, of_it in chain]
        problems += [problem for *_, missing in found for problem in missing]
        checked.append([_checked(kind, of_it, video) for kind, of_it, video, _ in found])
    problems += [
        FieldProblem("parentId", problem)
        for parent_id in {chain[0].parent_id for chain in chains if chain}
        if (problem := parent_problem(connection, parent_id))
    ]
    if problems:
        raise InvalidJob(problems)
    return checked


def _twin(connection: sa.Connection, link: _Link) -> UUID:
    """The live job that does the same; if it has ended meanwhile, the new one."""
    try:
        return _insert(connection, link.job, link.checked, JobStatus.PENDING).id
    except JobAlreadyLive as live:
        return live.job_id


def _values(job: NewJob, checked: Checked, status: JobStatus) -> dict[str, Any]:
    return {
        "type": checked.kind.value,
        "status": status.value,
        "params": checked.params.model_dump(mode="json", by_alias=True, exclude_none=True),
        "priority": job.priority,
        "resource_category": job.resource_category or NEEDS[checked.kind].category.value,
        "vram_required": NEEDS[checked.kind].vram_mb if job.vram_required is None else job.vram_required,
        "max_retries": job.max_retries,
        "origin": job.origin.value,
        "parent_id": job.parent_id,
        "video_id": checked.video_id,
        "unique_key": checked.params.unique_key(),
    }


def _insert(connection: sa.Connection, job: NewJob, checked: Checked, status: JobStatus) -> Job:
    values = {**_values(job, checked, status), **_of_its_run(job)}
    statement = pg.insert(jobs).values(values).on_conflict_do_nothing(**_WHILE_LIVE).returning(*COLUMNS)
    row = connection.execute(statement).one_or_none()
    if row is not None:
        return job_of(row)
    key = values["unique_key"]
    assert key is not None
    holder = _live_holder(connection, key)
    if holder is None:  # it ended in between
        return _insert(connection, job, checked, status)
    raise JobAlreadyLive(key, holder)


def _of_its_run(job: NewJob) -> dict[str, Any]:
    """Of a job that a run which was launched in Dagster does itself, as soon as it has come to it."""
    if job.waiting_run_id is None:
        return {}
    return {
        "held": True,
        "waiting_run_id": job.waiting_run_id,
        "run_id": job.waiting_run_id,
        "waiting_reason": NOT_BEGUN,
        "partition_key": job.partition_key,
    }


def _live_holder(connection: sa.Connection, unique_key: str) -> UUID | None:
    return connection.scalar(sa.select(jobs.c.id).where(jobs.c.unique_key == unique_key, status_in(LIVE)))


# The order in which the migration's partial index lists them.
LIVE_IN_INDEX = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED)
# The index `jobs_unique_while_live`, as the arbiter of an INSERT.
_WHILE_LIVE: Any = {
    "index_elements": [jobs.c.unique_key],
    "index_where": sa.and_(
        jobs.c.unique_key.is_not(None),
        jobs.c.status.in_([sa.literal_column(f"'{live.value}'") for live in LIVE_IN_INDEX]),
    ),
}


def wait_for_arrivals(connection: sa.Connection) -> None:
    """Whoever asks for scans of files that have come does so alone, until the transaction ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ARRIVALS_LOCK)))


# Looking


def get(connection: sa.Connection, job_id: UUID) -> Job:
    """Raises JobNotFound, or JobArchived."""
    row = connection.execute(sa.select(*COLUMNS).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise _absent(connection, job_id, (job_id, job_id))
    return job_of(row)


def last_scan_at(connection: sa.Connection) -> datetime | None:
    """When the newest completed scan of a whole folder ended, in the queue or the archive; those of files are left
    out."""
    is_scan = jobs.c.type == JobType.SCAN.value
    whole = sa.and_(is_scan, status_in([JobStatus.COMPLETED]), *_is_of_folders(jobs.c.params))
    newest = sa.select(jobs.c.completed_at).where(whole).order_by(jobs.c.created_at.desc()).limit(1)
    archived = (
        sa.select(jobs_archive.c.completed_at)
        .where(
            jobs_archive.c.type == JobType.SCAN.value,
            jobs_archive.c.status == JobStatus.COMPLETED.value,
            *_is_of_folders(jobs_archive.c.job["params"]),
        )
        .order_by(jobs_archive.c.created_at.desc())
        .limit(1)
    )
    return connection.scalar(newest) or connection.scalar(archived)


def _is_of_folders(of_scan: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
    """Of one below library/, or as the daily rescan of all of them."""
    path, paths = (of_scan[name].astext for name in ("path", "paths"))
    return [sa.or_(path.is_(None), path == LIBRARY), paths.is_(None)]


def _absent(connection: sa.Connection, reference: str | UUID, ids: tuple[UUID, UUID]) -> JobNotFound:
    archived = connection.execute(
        sa.select(jobs_archive.c.id, jobs_archive.c.archived_at).where(jobs_archive.c.id.between(*ids)).limit(2)
    ).all()
    return JobArchived(archived[0].id, archived[0].archived_at) if len(archived) == 1 else JobNotFound(reference)


def children(connection: sa.Connection, job_id: UUID, *, limit: int) -> list[Job]:
    """The jobs that wait for it or did so, oldest first."""
    rows = connection.execute(
        sa.select(*COLUMNS).where(jobs.c.parent_id == job_id).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
    )
    return [job_of(row) for row in rows]


def get_all(connection: sa.Connection, ids: Iterable[UUID]) -> list[Job]:
    """Those that are there, in no order."""
    return [job_of(row) for row in connection.execute(sa.select(*COLUMNS).where(jobs.c.id.in_(list(ids))))]


def find(connection: sa.Connection, reference: str) -> Job:
    """A job by its id or the first characters of it. Raises JobNotFound, JobArchived or AmbiguousJob."""
    ids = id_range(reference)
    if ids is None:
        raise JobNotFound(reference)
    rows = connection.execute(sa.select(*COLUMNS).where(jobs.c.id.between(*ids)).order_by(jobs.c.id).limit(3)).all()
    if not rows:
        raise _absent(connection, reference, ids)
    if len(rows) > 1:
        raise AmbiguousJob(reference, [row.id for row in rows])
    return job_of(rows[0])


def _matching(table: sa.Table, filters: Filters) -> list[sa.ColumnElement[bool]]:
    wanted = {
        "status": filters.status and filters.status.value,
        "type": filters.type,
        "resource_category": filters.resource_category and filters.resource_category.value,
        "video_id": filters.video_id,
    }
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def page(connection: sa.Connection, filters: Filters, *, limit: int, offset: int = 0) -> Page:
    """Newest first."""
    total = count(connection, filters)
    if offset >= total:
        return Page([], total)
    # Only ids are passed over on the way to a late page: they are in the index, the rows are not.
    order = (jobs.c.created_at.desc(), jobs.c.id.desc())
    shown = (
        sa.select(jobs.c.id).where(*_matching(jobs, filters)).order_by(*order).limit(limit).offset(offset).subquery()
    )
    rows = connection.execute(sa.select(*COLUMNS).join(shown, shown.c.id == jobs.c.id).order_by(*order))
    return Page([job_of(row) for row in rows], total)


def oldest(
    connection: sa.Connection, filters: Filters, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Ids with their `created_at`, oldest first, behind `after`: pages that stay right while rows leave them."""
    age = sa.tuple_(jobs.c.created_at, jobs.c.id)
    behind = [] if after is None else [age > sa.tuple_(sa.literal(after[0], jobs.c.created_at.type), after[1])]
    rows = connection.execute(
        sa.select(jobs.c.created_at, jobs.c.id)
        .where(*_matching(jobs, filters), *behind)
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(limit)
    )
    return [(row.created_at, row.id) for row in rows]


def count(connection: sa.Connection, filters: Filters) -> int:
    """Counting a million rows takes half a second, adding up their tallies none."""
    if filters.video_id is not None:
        counted = sa.select(sa.func.count()).select_from(jobs).where(*_matching(jobs, filters))
    else:
        counted = sa.select(sa.func.sum(job_tallies.c.jobs)).where(*_matching(job_tallies, filters))
    return int(connection.scalar(counted) or 0)


def attempts(connection: sa.Connection, job_id: UUID) -> list[dict[str, Any]]:
    """Every attempt of a job, first to last, as column → value."""
    rows = connection.execute(
        sa.select(job_attempts).where(job_attempts.c.job_id == job_id).order_by(job_attempts.c.attempt)
    )
    return [dict(row._mapping) for row in rows]


def tally(status: JobStatus) -> sa.ScalarSelect[int]:
    """How many jobs have a status, for a statement that asks for more."""
    total = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(job_tallies.c.jobs), 0), sa.BigInteger))
    return total.where(job_tallies.c.status == status.value).scalar_subquery()


def being_published(connection: sa.Connection) -> set[str]:
    """The paths that jobs at work have announced: a file that is there already may not have its row yet."""
    path = jobs.c.result["publishing"].as_string()
    at_work = status_in([JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED])
    return set(connection.scalars(sa.select(path).where(at_work, path.is_not(None))))


def params_of_live(connection: sa.Connection, kind: JobType) -> list[params.Params]:
    """Of all live jobs of a type; without those that another program wrote and that can never run."""
    found = []
    for raw in connection.scalars(sa.select(jobs.c.params).where(jobs.c.type == kind.value, status_in(LIVE))):
        with suppress(InvalidJob):
            found.append(params.parse(kind, raw))
    return found


# Moving


def move(connection: sa.Connection, job_id: UUID, wanted: JobStatus, **values: Any) -> Job:
    """The guarded move.

    Raises JobNotFound, MoveForbidden where MOVES has no such step, or JobAlreadyLive where an ended job would come
    back although a live one does the same by now.
    """
    twin = jobs.alias()
    live_twin = sa.exists().where(
        twin.c.unique_key == jobs.c.unique_key,
        twin.c.id != jobs.c.id,
        twin.c.status.in_([status.value for status in LIVE]),
    )
    row = connection.execute(
        sa.update(jobs)
        .where(
            jobs.c.id == job_id,
            status_in(status for status, targets in MOVES.items() if wanted in targets),
            *([] if wanted in FINAL else [~live_twin]),
        )
        .values(status=wanted.value, **values)
        .returning(*COLUMNS)
    ).one_or_none()
    return job_of(row) if row is not None else _refused_move(connection, job_id, wanted, values)


def move_all(
    connection: sa.Connection, job_ids: Sequence[UUID], wanted: JobStatus, *only: sa.ColumnElement[bool], **values: Any
) -> list[Job]:
    """The same for many, of which those that may not move stay as they are. Not for ended jobs that come back."""
    rows = connection.execute(
        sa.update(jobs)
        .where(
            jobs.c.id.in_(job_ids),
            status_in(status for status, targets in MOVES.items() if wanted in targets and status not in FINAL),
            *only,
        )
        .values(status=wanted.value, **values)
        .returning(*COLUMNS)
    )
    return [job_of(row) for row in rows]


def _refused_move(connection: sa.Connection, job_id: UUID, wanted: JobStatus, values: dict[str, Any]) -> Job:
    current = get(connection, job_id).status
    if wanted not in MOVES[current]:
        raise MoveForbidden(job_id, current, wanted)
    key = connection.scalar(sa.select(jobs.c.unique_key).where(jobs.c.id == job_id))
    holder = _live_holder(connection, key) if key else None
    if key and holder and holder != job_id:
        raise JobAlreadyLive(key, holder)
    return move(connection, job_id, wanted, **values)  # it was moved meanwhile, to where the step is legal


# Putting right


@dataclass(frozen=True)
class StaleJob:
    """A job whose run may be gone."""

    id: UUID
    attempt: int
    run_id: str | None
    host: str | None
    silent_s: float


def queued_for_longer_than(connection: sa.Connection, seconds: float) -> list[StaleJob]:
    """Admitted, and not started since: perhaps the run was never made."""
    age = sa.func.extract("epoch", sa.func.now() - jobs.c.admitted_at)
    rows = connection.execute(
        sa.select(jobs.c.id, jobs.c.attempt, jobs.c.run_id, jobs.c.host, age.label("silent_s"))
        .where(status_in([JobStatus.QUEUED]), sa.or_(jobs.c.admitted_at.is_(None), age > seconds))
        .limit(500)
    )
    return [StaleJob(row.id, row.attempt, row.run_id, row.host, float(row.silent_s or 0)) for row in rows]


def running(connection: sa.Connection) -> list[StaleJob]:
    """Every job that a run holds, with the seconds since its last beat."""
    silent = sa.func.extract("epoch", sa.func.now() - job_leases.c.heartbeat_at)
    rows = connection.execute(
        sa.select(jobs.c.id, jobs.c.attempt, jobs.c.run_id, jobs.c.host, silent.label("silent_s"))
        .select_from(jobs.outerjoin(job_leases, job_leases.c.job_id == jobs.c.id))
        .where(holds_lease())
    )
    return [
        StaleJob(row.id, row.attempt, row.run_id, row.host, float("inf") if row.silent_s is None else row.silent_s)
        for row in rows
    ]


def return_to_pending(connection: sa.Connection, job_id: UUID, attempt: int) -> bool:
    """queued → pending: the run that was asked for will not come. Uses up no retry."""
    result = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == JobStatus.QUEUED.value)
        .values(status=JobStatus.PENDING.value, run_id=None)
    )
    return result.rowcount == 1


def return_queued_to_pending(connection: sa.Connection, wanted: sa.Select[tuple[UUID]]) -> None:
    """queued → pending, as above, for each of the wanted jobs that has not begun."""
    connection.execute(
        sa.update(jobs)
        .where(status_in([JobStatus.QUEUED]), jobs.c.id.in_(wanted))
        .values(status=JobStatus.PENDING.value, run_id=None)
    )


def tidy_after_outside_moves(connection: sa.Connection) -> None:
    """Jobs that another program moved by a plain UPDATE: drop the lease, close the attempt. Folds counts, too."""
    let_go = connection.scalars(
        sa.select(job_leases.c.token)
        .join(jobs, jobs.c.id == job_leases.c.job_id)
        .where(sa.or_(~holds_lease(), jobs.c.lease_token.is_distinct_from(job_leases.c.token)))
    ).all()
    if let_go:  # by token: the next attempt may be taking the row over at this moment
        connection.execute(sa.delete(job_leases).where(job_leases.c.token.in_(let_go)))
    _close_orphaned_attempts(connection)
    counters.fold(connection, job_tallies, ["jobs"])
    counters.fold(connection, job_counters, ["n", "total"])
    history.fold(connection)


def _close_orphaned_attempts(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    """Attempts that are open although no lease is theirs."""
    leased = sa.exists().where(
        job_leases.c.job_id == job_attempts.c.job_id, job_leases.c.attempt == job_attempts.c.attempt
    )
    replaced = jobs.c.attempt != job_attempts.c.attempt
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.ended_at.is_(None), ~leased, jobs.c.id == job_attempts.c.job_id, *which)
        .values(
            ended_at=sa.func.now(),
            outcome=sa.case(
                (replaced, Outcome.LOST.value),
                (jobs.c.status == JobStatus.CANCELLED.value, Outcome.CANCELLED.value),
                (jobs.c.status == JobStatus.FAILED.value, Outcome.FAILED.value),
                else_=Outcome.LOST.value,
            ),
            error=sa.case(
                (replaced, "another attempt took its place"),
                (jobs.c.status == JobStatus.CANCELLED.value, "the job was cancelled"),
                else_=sa.func.concat("the job was set to ", jobs.c.status, " from outside"),
            ),
        )
    )


def let_go(connection: sa.Connection, job_id: UUID, token: UUID) -> None:
    """An attempt that lost its job has stopped: nothing of it is left."""
    connection.execute(sa.delete(job_leases).where(job_leases.c.job_id == job_id, job_leases.c.token == token))
    _close_orphaned_attempts(connection, job_attempts.c.job_id == job_id)
