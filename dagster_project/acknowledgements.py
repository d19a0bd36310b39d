"""Acknowledgements: alarms of a model that somebody has looked into, as the configuration states them.

What lives here: who answers for which alarm, and why. What does not: alarms (``plimsoll.monitoring``), what an open one
withholds (``assets.checks``).
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Acknowledgement(BaseModel):
    """One alarm, by the date on which it was raised; betting against the limit begins anew on the day after."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    series: Literal["overshoot_24h", "overshoot_24h_deep"]
    side: Literal["long", "short"]
    alarm_on: date
    by: Annotated[str, Field(min_length=2, max_length=80)]
    reason: Annotated[str, Field(min_length=10, max_length=400)]


class Monitoring(BaseModel):
    """What the daily watch over the model in use has been answered with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acknowledged: tuple[Acknowledgement, ...] = ()

    def dates(self, series: str, side: str) -> list[date]:
        """Return the dates of the acknowledged alarms of one limit."""
        return [one.alarm_on for one in self._of(series, side)]

    def _of(self, series: str, side: str) -> Iterable[Acknowledgement]:
        return (one for one in self.acknowledged if (one.series, one.side) == (series, side))
