"""Schedules: when jobs run, in UTC.

What lives here: cron times. What does not: local times; a bar of a UTC day is final half an hour after midnight UTC.
"""

from typing import Any

import dagster as dg

HOUR, MINUTE = 0, 30


def nightly_schedule(job: Any, *, is_on: bool) -> Any:
    """Run the nightly job at 00:30 UTC for the day that has just ended."""
    status = dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED
    return dg.build_schedule_from_partitioned_job(job, hour_of_day=HOUR, minute_of_hour=MINUTE, default_status=status)
