"""Partitions: one UTC day each; the market is a column, never a partition.

What lives here: which days a profile covers. What does not: calendars of markets (``calendars``).
"""

from datetime import timedelta

import dagster as dg

from dagster_project.settings import Settings


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return the days of a profile, its last partition included."""
    last = settings.profile.last_partition
    return dg.DailyPartitionsDefinition(
        start_date=settings.profile.first_partition.isoformat(),
        end_date=(last + timedelta(days=1)).isoformat() if last else None,
        timezone="UTC",
    )
