"""The words agree with each other and with the specification."""

from jobqueue_bridge.vocabulary import ACTIVE, FINAL, LIVE, MOVES, NEEDS, JobStatus, JobType, Need, ResourceCategory

# Copied by hand from the specification's table of job types.
SPECIFIED = """
scan cpu 0
public_scan cpu 0
validate cpu 0
reencode_streaming gpu_encode 4000
compile_random gpu_encode 2000
compile_quad gpu_encode 4000
compile_mega gpu_encode 6000
compile_gif cpu 0
digest_generate gpu_ai 8000
clip_generate gpu_ai 6000
highlight_generate gpu_ai 8000
tag_generation gpu_ai 6000
scene_extract gpu_ai 8000
thumbnail_generate cpu 0
move_to_library cpu 0
"""


def test_every_type_needs_what_the_specification_says() -> None:
    specified = {
        JobType(kind): Need(ResourceCategory(category), int(vram_mb))
        for kind, category, vram_mb in map(str.split, SPECIFIED.strip().splitlines())
    }
    assert {kind: NEEDS[kind] for kind in specified} == specified


def test_a_transcode_needs_what_a_re_encode_does() -> None:
    assert NEEDS[JobType.TRANSCODE] == NEEDS[JobType.REENCODE_STREAMING]
    assert set(NEEDS) == set(JobType)


def test_every_status_has_its_moves() -> None:
    assert set(MOVES) == set(JobStatus)


def test_a_status_is_either_final_or_live_and_active_ones_are_live() -> None:
    assert frozenset(JobStatus) == FINAL | LIVE
    assert not FINAL & LIVE
    assert ACTIVE < LIVE


def test_final_statuses_are_those_of_the_specification() -> None:
    assert frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}) == FINAL


def test_a_completed_job_never_moves_and_the_other_final_ones_only_come_back() -> None:
    assert not MOVES[JobStatus.COMPLETED]
    assert all(MOVES[status] == {JobStatus.PENDING} for status in FINAL - {JobStatus.COMPLETED})


def test_no_status_moves_to_itself() -> None:
    assert not [status for status, targets in MOVES.items() if status in targets]
