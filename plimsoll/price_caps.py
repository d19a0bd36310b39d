"""Price caps: the ratio, the moment and the growth of a capped exchange-rate oracle, published as one object.

What lives here: the cap, whether it lies above the live rate, and clipping ratio and moment together. What does not:
parameters that a venue lists by name (``venues``), their walk (``publication``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

DAYS_A_YEAR = 365.0


@dataclass(frozen=True)
class PriceCap:
    """A cap's parameters.

    Attributes
    ----------
    ratio
        Exchange rate at the snapshot.
    age_days
        Days from the snapshot to now.
    growth
        Largest growth a year, a fraction of the ratio at the snapshot.
    """

    ratio: float
    age_days: float
    growth: float

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and self.age_days >= 0 and self.growth >= 0):
            raise ValueError(
                f"ratio {self.ratio:g}, age {self.age_days:g} d, growth {self.growth:g}: a cap needs a positive ratio, "
                "a snapshot that is not in the future and a growth that is not negative"
            )

    @property
    def value(self) -> float:
        r"""Rate that the oracle lets through now.

        .. math:: cap(t) = R_s\left(1 + g\,\frac{t - t_s}{365\,d}\right)
        """
        return self.ratio * (1.0 + self.growth * self.age_days / DAYS_A_YEAR)


@dataclass(frozen=True)
class CapOutcome:
    """Whether a cap may be published.

    Attributes
    ----------
    status
        ``published``, ``unchanged``, ``hold`` or ``block``.
    cap
        All parameters at once, or None.
    reasons
        One sentence a cause, with its numbers.
    """

    status: str
    cap: PriceCap | None
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Say the outcome as one clause."""
        words = {"published": "published", "unchanged": "unchanged", "hold": "held", "block": "blocked"}
        return f"{words[self.status]}: {'; '.join(self.reasons)}"


def cap_fault(cap: PriceCap, *, live_ratio: float, margin: float) -> str | None:
    r"""Say whether a cap would cut the live rate.

    .. math:: R_s\left(1 + g\,\frac{t - t_s}{365\,d}\right) \ge R_{live}(1 + \varepsilon)

    Parameters
    ----------
    cap
        Parameters.
    live_ratio
        Exchange rate now.
    margin
        :math:`\varepsilon`, a fraction.
    """
    floor = live_ratio * (1.0 + margin)
    if cap.value >= floor:
        return None
    return (
        f"cap {cap.value:.6f} (ratio {cap.ratio:.6f}, snapshot {cap.age_days:g} d old) lies "
        f"{1 - cap.value / live_ratio:.2%} below the live rate {live_ratio:.6f}"
        + (f" and must lie {margin:.2%} above" if margin else "")
    )


def next_cap(
    in_force: PriceCap,
    target: PriceCap,
    *,
    live_ratio: float,
    margin: float,
    largest_step: float,
    days_since_change: float | None,
    minimum_delay_days: float = 3.0,
    snapshots: Sequence[PriceCap] = (),
    hold_reason: str | None = None,
) -> CapOutcome:
    """Clip ratio and moment together and test the cap afterwards, or block.

    Parameters
    ----------
    in_force, target
        Parameters in force and wanted; ages count to now.
    live_ratio
        Exchange rate now.
    margin
        By how much the cap must lie above the live rate, a fraction.
    largest_step
        Largest change of the ratio at once, a fraction of the ratio in force.
    days_since_change
        Days since the last change; None where it is not known, which holds.
    minimum_delay_days
        Days between two changes.
    snapshots
        Rates that were read at earlier moments. Where the target's ratio lies beyond one step, the newest of them
        that lies within the step, is no older than the snapshot in force and carries the live rate is taken whole: a
        ratio and the moment at which it was true.
    hold_reason
        Why publication is stopped, or None.

    Returns
    -------
    CapOutcome
        ``block`` where the cap would lie below the live rate. Without a snapshot within the step the only set left is
        the limited ratio at the target's moment.

    Notes
    -----
    A ratio that is limited while its moment moves freely promises growth from a rate that was never true: on
    2026-03-10 such a cap lay 2.85 % below the live rate.
    """
    if hold_reason is not None:
        return CapOutcome("hold", None, (f"all publication is stopped: {hold_reason}",))
    if not (live_ratio > 0 and margin >= 0 and largest_step >= 0):
        raise ValueError(f"live_ratio {live_ratio:g} must be positive, margin {margin:g} and largest_step not negative")
    if target == in_force:
        fault = cap_fault(in_force, live_ratio=live_ratio, margin=margin)
        if fault is not None:
            return CapOutcome("block", None, (f"in force: {fault}",))
        return CapOutcome("unchanged", in_force, (f"cap {in_force.value:.6f} stays",))
    if days_since_change is None:
        return CapOutcome("hold", None, ("the last change is not known, so no delay can be shown to be over",))
    if days_since_change < minimum_delay_days:
        told = f"last changed {days_since_change:g} days ago, {minimum_delay_days:g} days between changes"
        return CapOutcome("hold", None, (told,))
    lowest, highest = in_force.ratio * (1 - largest_step), in_force.ratio * (1 + largest_step)
    near = f"snapshot within {largest_step:.2%} of ratio {in_force.ratio:.6f}"
    trials = [("whole target", target)] if lowest <= target.ratio <= highest else []
    if not trials:
        within = [one for one in snapshots if lowest <= one.ratio <= highest and one.age_days <= in_force.age_days]
        trials = [(near, one) for one in sorted(within, key=lambda one: one.age_days)]
    if not trials:
        limited = PriceCap(min(max(target.ratio, lowest), highest), target.age_days, target.growth)
        trials = [(f"ratio limited to {largest_step:.2%}", limited)]
    faults = []
    for how, cap in trials:
        fault = cap_fault(cap, live_ratio=live_ratio, margin=margin)
        if fault is None:
            above = f"cap {cap.value:.6f} lies {cap.value / live_ratio - 1:.2%} above the live rate"
            return CapOutcome("published", cap, (f"{how}: {above}",))
        faults.append(f"{how}: {fault}")
    return CapOutcome("block", None, tuple(faults))
