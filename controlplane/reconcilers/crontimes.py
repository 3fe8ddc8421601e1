"""When a schedule is due, in a time zone: the next moment, and the last one that has passed.

Moments are found by walking real time in steps of a day, an hour or a minute and looking at the wall clock: an hour
that is skipped in spring brings nothing, one that comes twice in autumn brings it twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from mizzen.api.cron import Every, Schedule
from mizzen.engine.values import Instant

HORIZON = timedelta(days=5 * 366)
"""A schedule that is not due within this time, such as the 30th of February, never is."""
_MINUTE_MS = 60_000


def next_after(schedule: Schedule | Every, moment: Instant, zone: tzinfo) -> Instant | None:
    """The first moment after `moment` at which something is due; None for never."""
    if isinstance(schedule, Every):
        return moment // 1000 * 1000 + schedule.seconds * 1000
    now = datetime.fromtimestamp((moment // _MINUTE_MS + 1) * 60, UTC)
    end = now + HORIZON
    while now < end:
        wall = now.astimezone(zone)
        if not _is_day(schedule, wall):
            now = _next_day(now, wall)
        elif wall.hour not in schedule.hours.values:
            now += timedelta(minutes=60 - wall.minute)
        elif wall.minute not in schedule.minutes.values:
            now += timedelta(minutes=1)
        else:
            return int(now.timestamp()) * 1000
    return None


def _is_day(schedule: Schedule, wall: datetime) -> bool:
    if wall.month not in schedule.months.values:
        return False
    day, weekday = wall.day in schedule.days.values, wall.isoweekday() % 7 in schedule.weekdays.values
    # Cron's old rule: where both fields are given, one of them is enough.
    return day and weekday if schedule.days.every or schedule.weekdays.every else day or weekday


def _next_day(now: datetime, wall: datetime) -> datetime:
    """The first minute of the next day; where midnight is skipped, the first there is."""
    midnight = wall.replace(hour=0, minute=0, fold=0) + timedelta(days=1)
    return max(midnight.astimezone(UTC), now + timedelta(minutes=1))


def last_due(schedule: Schedule | Every, since: Instant, now: Instant, zone: tzinfo) -> Instant | None:
    """The last moment after `since` and not after `now` at which something was due; None when there was none.

    The next moment never goes back as its start goes forward, so the last one is found by halving the time between.
    """
    if isinstance(schedule, Every):
        passed = (now - since // 1000 * 1000) // (schedule.seconds * 1000)
        return since // 1000 * 1000 + passed * schedule.seconds * 1000 if passed > 0 else None
    found = next_after(schedule, since, zone)
    if found is None or found > now:
        return None
    low, high = found, now
    while high - low >= _MINUTE_MS:
        middle = (low + high) // 2
        later = next_after(schedule, middle, zone)
        if later is not None and later <= now:
            found = low = later
        else:
            high = middle
    return found
