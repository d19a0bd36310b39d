"""Calendars: known closures, the next session, sessions a year, and errors that name the key."""

from datetime import date

import pandas as pd
import pytest

from dagster_project.calendars import CalendarError, check, next_session, periods_per_year, sessions


def days(calendar: str, first: str, last: str, **more: frozenset[date]) -> list[str]:
    found = sessions(calendar, date.fromisoformat(first), date.fromisoformat(last), **more)
    return [f"{day:%m-%d}" for day in found]


def test_daily_has_every_day_leap_days_included() -> None:
    assert days("daily", "2020-02-28", "2020-03-01") == ["02-28", "02-29", "03-01"]


def test_new_york_was_closed_after_the_attacks() -> None:
    assert days("XNYS", "2001-09-07", "2001-09-18") == ["09-07", "09-10", "09-17", "09-18"]


def test_settlement_days_leave_out_what_the_source_marks() -> None:
    closed = frozenset({date(2018, 12, 25)})
    assert days("us_settlement", "2018-12-21", "2018-12-26", no_quote=closed) == ["12-21", "12-24", "12-26"]


@pytest.mark.parametrize(
    ("calendar", "day", "following"),
    [
        ("daily", "2018-12-31", "2019-01-01"),
        ("XNYS", "2018-12-31", "2019-01-02"),
        ("XNYS", "2001-09-10", "2001-09-17"),
        ("us_settlement", "2018-12-31", "2019-01-02"),
        ("us_settlement", "2018-07-03", "2018-07-05"),
        ("us_settlement", "2018-07-06", "2018-07-09"),
    ],
)
def test_next_session(calendar: str, day: str, following: str) -> None:
    assert next_session(calendar, date.fromisoformat(day)) == date.fromisoformat(following)


def test_a_year_has_the_calendars_own_length() -> None:
    assert periods_per_year("daily") == 365
    # New York 2005 to 2014: 252, 251, 251, 253, 252, 252, 252, 250, 252, 252 sessions.
    assert periods_per_year("XNYS") == pytest.approx(251.7)
    assert 249 < periods_per_year("us_settlement") < 252


@pytest.mark.parametrize("call", [check, periods_per_year, lambda key: next_session(key, date(2020, 1, 1))])
def test_an_unknown_key_is_named(call) -> None:
    with pytest.raises(CalendarError, match="'MOON'"):
        call("MOON")


def test_days_before_the_calendar_is_known_are_refused() -> None:
    with pytest.raises(CalendarError, match=r"'XNYS' is known from 1985-01-01, the candles begin 1970-01-02"):
        sessions("XNYS", date(1970, 1, 2), date(2000, 1, 1))


def test_sessions_have_no_zone() -> None:
    for calendar in ("daily", "XNYS", "us_settlement"):
        found = sessions(calendar, date(2020, 1, 1), date(2020, 3, 1))
        assert isinstance(found, pd.DatetimeIndex)
        assert found.tz is None
        assert found.is_monotonic_increasing
