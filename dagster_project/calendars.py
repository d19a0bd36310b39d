"""Calendars: on which days a market has a bar.

What lives here: sessions between two days, the next session, sessions a year, by the calendar's key. What
does not: time zones (days are UTC days), bars.
"""

import warnings
from datetime import date
from functools import cache
from typing import Any

import pandas as pd
from pandas.tseries.holiday import USFederalHolidayCalendar

DAILY = "daily"
US_SETTLEMENT = "us_settlement"
EARLIEST = "1985-01-01"
YEARS_COUNTED = 10


class CalendarError(ValueError):
    """A calendar key is unknown; the message names it."""


@cache
def _exchange(code: str) -> Any:
    import exchange_calendars

    if code not in exchange_calendars.get_calendar_names():
        raise CalendarError(f"calendar {code!r}: not 'daily', 'us_settlement' or an exchange code such as XNYS")
    with warnings.catch_warnings():
        # exchange_calendars itself reads Series.values of zoned times; its sessions have no zone.
        warnings.filterwarnings("ignore", "Series.values returning an ndarray that drops", pd.errors.Pandas4Warning)
        return exchange_calendars.get_calendar(code, start=EARLIEST)


def check(calendar: str) -> None:
    """Raise `CalendarError` for an unknown key."""
    if calendar not in (DAILY, US_SETTLEMENT):
        _exchange(calendar)


def sessions(calendar: str, first: date, last: date, *, no_quote: frozenset[date] = frozenset()) -> pd.DatetimeIndex:
    """List the sessions from ``first`` to ``last``, both included.

    Parameters
    ----------
    calendar
        ``daily``: every day. ``us_settlement``: Mondays to Fridays less ``no_quote``. Else an exchange code.
    first, last
        Days.
    no_quote
        Days that the source itself marks as without a quotation (``us_settlement``).
    """
    if calendar == DAILY:
        return pd.date_range(first, last, freq="D")
    if calendar == US_SETTLEMENT:
        days = pd.bdate_range(first, last)
        return days[~days.isin([pd.Timestamp(day) for day in no_quote])]
    exchange = _exchange(calendar)
    if first < date.fromisoformat(EARLIEST):
        raise CalendarError(
            f"calendar {calendar!r} is known from {EARLIEST}, the candles begin {first}; leave older ones out"
        )
    low, high = (
        max(pd.Timestamp(first), exchange.first_session),
        min(pd.Timestamp(last), exchange.last_session),
    )
    return pd.DatetimeIndex(exchange.sessions_in_range(low, high)) if low <= high else pd.DatetimeIndex([])


@cache
def next_session(calendar: str, day: date) -> date:
    """Return the first session after a day; for ``us_settlement`` federal holidays count as closed."""
    ahead = pd.Timestamp(day) + pd.Timedelta(days=1)
    if calendar == DAILY:
        return ahead.date()
    far = ahead + pd.Timedelta(days=21)
    days = sessions(calendar, ahead.date(), far.date())
    if calendar == US_SETTLEMENT:
        days = days[~days.isin(USFederalHolidayCalendar().holidays(ahead, far))]
    if len(days) == 0:
        raise CalendarError(f"calendar {calendar!r}: no session within three weeks after {day}")
    return days[0].date()


@cache
def periods_per_year(calendar: str) -> float:
    """Mean sessions a year over ten years; 365 for markets that never close."""
    if calendar == DAILY:
        return 365.0
    if calendar == US_SETTLEMENT:
        days = pd.bdate_range("2005-01-01", "2014-12-31")
        return len(days[~days.isin(USFederalHolidayCalendar().holidays(days[0], days[-1]))]) / YEARS_COUNTED
    return len(sessions(calendar, date(2005, 1, 1), date(2014, 12, 31))) / YEARS_COUNTED
