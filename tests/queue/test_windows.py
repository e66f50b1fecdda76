"""The hours in which jobs may start: on one day, over midnight, on some weekdays, while the clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge.windows import next_opening, opened_at, parse, waiting_text

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks change by half an hour
NIGHT = [parse("01:00-07:00")]


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def is_open(text: str, at: datetime) -> bool:
    return opened_at([parse(part) for part in text.split(" | ")], at, BERLIN) is not None


def opens(text: str, at: datetime) -> str:
    return next_opening([parse(part) for part in text.split(" | ")], at, BERLIN).astimezone(BERLIN).isoformat()


@pytest.mark.parametrize(
    ("clock", "open_"), [("00:59:59", False), ("01:00", True), ("06:59:59", True), ("07:00", False), ("23:00", False)]
)
def test_a_window_is_open_from_its_begin_to_just_before_its_end(clock: str, open_: bool) -> None:
    assert is_open("01:00-07:00", berlin(f"2026-11-23T{clock}")) == open_


@pytest.mark.parametrize(("clock", "open_"), [("21:59", False), ("22:00", True), ("00:00", True), ("06:00", False)])
def test_a_window_may_go_over_midnight(clock: str, open_: bool) -> None:
    assert is_open("22:00-06:00", berlin(f"2026-11-23T{clock}")) == open_


def test_a_window_to_the_end_of_the_day_ends_at_midnight() -> None:
    assert is_open("22:00-24:00", berlin("2026-11-23T23:59"))
    assert not is_open("22:00-24:00", berlin("2026-11-24T00:00"))
    assert is_open("00:00-24:00", berlin("2026-11-24T00:00"))


def test_each_of_several_windows_opens() -> None:
    text = "22:00-06:00 | 12:00-13:00"
    assert [hour for hour in range(24) if is_open(text, berlin(f"2026-11-23T{hour:02}:30"))] == [
        *range(6), 12, 22, 23,
    ]  # fmt: skip
    assert opens(text, berlin("2026-11-23T07:00")) == "2026-11-23T12:00:00+01:00"


def test_days_are_those_on_which_a_window_begins() -> None:
    text = "fri,sun 22:00-06:00"
    nights = ["2026-11-27T23:00", "2026-11-28T05:00", "2026-11-28T23:00", "2026-11-29T23:00", "2026-11-30T05:00"]
    assert [is_open(text, berlin(night)) for night in nights] == [True, True, False, True, True]
    assert opens("mon-fri 01:00-07:00", berlin("2026-11-27T08:00")) == "2026-11-30T01:00:00+01:00"
    assert parse("sat-mon 01:00-02:00").days == {5, 6, 0}


def test_it_opens_next_today_or_tomorrow() -> None:
    assert opens("01:00-07:00", berlin("2026-11-23T00:10")) == "2026-11-23T01:00:00+01:00"
    assert opens("01:00-07:00", berlin("2026-11-23T07:00")) == "2026-11-24T01:00:00+01:00"


def test_windows_that_meet_count_as_one() -> None:
    windows = [parse("22:00-24:00"), parse("00:00-03:00")]
    assert opened_at(windows, berlin("2026-11-24T02:00"), BERLIN) == berlin("2026-11-23T22:00")


def test_those_who_wait_are_told_until_when() -> None:
    at = berlin("2026-11-22T12:00")
    assert waiting_text("gpu_encode jobs", NIGHT, at, BERLIN) == (
        "gpu_encode jobs start between 01:00 and 07:00; the next begins at 2026-11-23 01:00"
    )
    windows = [parse("mon-fri 22:00-6:00"), parse("12:00 - 13:00")]
    assert waiting_text("gpu_ai jobs", windows, berlin("2026-11-22T14:00"), BERLIN) == (
        "gpu_ai jobs start between 22:00 and 06:00 (mon-fri) or between 12:00 and 13:00;"
        " the next begins at 2026-11-23 12:00"
    )


# The clocks change: in Berlin on 29 March 2026 from 02:00 to 03:00, on 25 October from 03:00 back to 02:00


def length(text: str, at: datetime, zone: ZoneInfo = BERLIN) -> timedelta:
    """Of the window that is open at a moment, found by looking at every minute."""
    windows, minute = [parse(text)], timedelta(minutes=1)
    begins = opened_at(windows, at, zone)
    assert begins is not None
    ends = begins
    while opened_at(windows, ends, zone) == begins:
        ends += minute
    return ends - begins


def test_the_night_in_which_an_hour_is_missing_is_an_hour_shorter() -> None:
    assert length("01:00-07:00", berlin("2026-03-29T05:00")) == timedelta(hours=5)


def test_the_night_in_which_an_hour_comes_twice_is_an_hour_longer() -> None:
    assert length("01:00-07:00", berlin("2026-10-25T05:00")) == timedelta(hours=7)


def test_a_begin_that_the_clock_jumps_over_is_when_it_jumps() -> None:
    assert opens("02:30-07:00", berlin("2026-03-29T01:00")) == "2026-03-29T03:00:00+02:00"
    assert not is_open("02:30-07:00", berlin("2026-03-29T01:59:59"))
    assert is_open("02:30-07:00", berlin("2026-03-29T03:00"))


def test_an_end_that_the_clock_jumps_over_is_when_it_jumps() -> None:
    assert is_open("22:00-02:30", berlin("2026-03-29T01:59:59"))
    assert not is_open("22:00-02:30", berlin("2026-03-29T03:00"))


def test_a_window_that_the_clock_jumps_over_does_not_open_that_night() -> None:
    assert opens("02:10-02:50", berlin("2026-03-29T01:00")) == "2026-03-30T02:10:00+02:00"
    assert opens("sun 02:10-02:50", berlin("2026-03-23T12:00")) == "2026-04-05T02:10:00+02:00"


@pytest.mark.parametrize("fold", [0, 1])
def test_a_window_does_not_close_in_between_when_an_hour_comes_twice(fold: int) -> None:
    assert is_open("01:00-02:30", berlin("2026-10-25T02:29", fold))
    assert is_open("01:00-02:30", berlin("2026-10-25T02:45"))
    assert not is_open("01:00-02:30", berlin("2026-10-25T02:30", fold=1))
    assert is_open("02:30-04:00", berlin("2026-10-25T02:30", fold))
    assert is_open("02:30-04:00", berlin("2026-10-25T02:15", fold=1))
    assert not is_open("02:30-04:00", berlin("2026-10-25T02:15"))


def test_other_zones_change_at_other_times_and_by_less() -> None:
    march, october = datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2026, 10, 3, 15, 45, tzinfo=UTC)
    assert length("01:00-07:00", march, NEW_YORK) == timedelta(hours=5)
    assert length("01:00-07:00", october, LORD_HOWE) == timedelta(hours=5, minutes=30)


MOMENTS = st.floats(1735689600, 1893456000).map(lambda at_s: datetime.fromtimestamp(at_s, UTC))
TIMES = st.times().map(lambda at: f"{at:%H:%M}")


@given(at=MOMENTS, begins=TIMES, ends=TIMES, zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, UTC]))
def test_what_is_closed_opens_when_it_is_said_and_not_before(
    at: datetime, begins: str, ends: str, zone: ZoneInfo
) -> None:
    if begins == ends:
        return
    windows = [parse(f"{begins}-{ends}")]
    if opened_at(windows, at, zone) is None:
        opening = next_opening(windows, at, zone)
        assert opening > at
        assert opened_at(windows, opening, zone) == opening
        assert opened_at(windows, opening - timedelta(seconds=1), zone) is None
        assert opened_at(windows, at + (opening - at) / 2, zone) is None
    else:
        assert opened_at(windows, at, zone) <= at  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no window"),
        ("01:00", "is no window"),
        ("1-7", "is no window"),
        ("25:00-07:00", "there is no 25:00 o'clock"),
        ("01:60-07:00", "there is no 01:60 o'clock"),
        ("24:30-07:00", "there is no 24:30 o'clock"),
        ("01:00-01:00", "ends when it begins; the whole day is 00:00-24:00"),
        ("weekdays 01:00-07:00", "there is no day 'weekdays'; the days are mon, tue"),
        ("mon- 01:00-07:00", "there is no day"),
        ("mon,,tue 01:00-07:00", "there is no day ''"),
    ],
)
def test_what_is_no_window_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        parse(text)
    assert repr(text) in str(refused.value)
