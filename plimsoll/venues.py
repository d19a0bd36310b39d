"""Venues: what a venue lets its parameters be, alone and together, and how fast they may move.

What lives here: parameters in a venue's own words with grid, bounds, largest step and delay; named rules that couple
them; parameters that follow from others; rounding toward the tighter side; a budget's set in a venue's terms. What does
not: the walk from values in force to a target (``publication``), what the budget demands (``constraints``).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

BPS = 10_000
UNITS = ("bps", "times", "units")
Values = Mapping[str, int]
"""A whole parameter set by key: basis points, whole times for leverage, whole tokens for caps."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a venue.

    Attributes
    ----------
    key
        Name in this project, the same at every venue: ``lt``, ``ltv``, ``bonus``, ``mm``, ``im``, ``max_leverage``, ...
    name
        Name in the venue's own words.
    tightening_is_down
        True for thresholds, limits, leverage and caps; False for margins and bonuses.
    unit
        ``bps``, ``times`` or ``units``.
    grid
        Step between allowed values.
    allowed
        Every allowed value, ascending, where they form no grid; else empty.
    lowest, highest
        Bounds of a value that is set, inclusive.
    largest_step
        Largest change at once, in the unit; None where nothing limits it.
    largest_step_share_bps
        The same as a share of the value in force.
    delay_days
        Whole days between two changes.
    is_immutable
        True where another value means another market.
    may_be_zero
        False where 0 cannot be set on the usual way.
    is_optional
        True where a set may lack it.
    """

    key: str
    name: str
    tightening_is_down: bool
    unit: str = "bps"
    grid: int = 1
    allowed: tuple[int, ...] = ()
    lowest: int = 0
    highest: int = BPS
    largest_step: int | None = None
    largest_step_share_bps: int | None = None
    delay_days: int = 0
    is_immutable: bool = False
    may_be_zero: bool = True
    is_optional: bool = False

    def __post_init__(self) -> None:
        for is_bad, why in (
            (self.unit not in UNITS, f"unit {self.unit!r} is not one of {', '.join(UNITS)}"),
            (self.grid < 1, f"grid {self.grid} is not positive"),
            (self.delay_days < 0, f"delay_days {self.delay_days} is negative"),
            (list(self.allowed) != sorted(set(self.allowed)), "allowed values must ascend without repeats"),
            (
                bool(self.allowed) and not self.is_immutable,
                "a list of allowed values is for what cannot be changed in steps",
            ),
            (
                self.largest_step is not None and self.largest_step_share_bps is not None,
                "give largest_step or largest_step_share_bps, not both",
            ),
            (
                self.largest_step is not None and self.largest_step < self.grid,
                f"largest_step {self.largest_step} is finer than the grid {self.grid}: no value could ever move",
            ),
            (
                self.largest_step_share_bps is not None and self.largest_step_share_bps <= 0,
                "largest_step_share_bps must be positive",
            ),
            (self.grid >= 1 and self.least > self.most, f"no value lies between {self.lowest} and {self.highest}"),
        ):
            if is_bad:
                raise ValueError(f"{self.key}: {why}")

    @property
    def least(self) -> int:
        """Smallest value that can be set."""
        smallest = self.lowest if self.may_be_zero else max(self.lowest, 1)
        if self.allowed:
            at = bisect_left(self.allowed, smallest)
            return self.allowed[at] if at < len(self.allowed) else self.highest + 1
        return -(-smallest // self.grid) * self.grid

    @property
    def most(self) -> int:
        """Largest value that can be set."""
        if self.allowed:
            at = bisect_right(self.allowed, self.highest)
            return self.allowed[at - 1] if at else self.lowest - 1
        return self.highest // self.grid * self.grid

    def is_tighter(self, value: int, than: int) -> bool:
        """Say whether a value is strictly tighter than another."""
        return value < than if self.tightening_is_down else value > than

    def is_settable(self, value: int) -> bool:
        """Say whether a value lies on the grid and within the bounds."""
        on_grid = value in self.allowed if self.allowed else value % self.grid == 0
        return on_grid and self.least <= value <= self.most

    def nearest(self, value: int) -> int:
        """Return the settable value nearest to ``value`` on its tighter side.

        Notes
        -----
        Only where the bound of the tighter side forbids it is the result looser than ``value``; the caller compares
        and says so.
        """
        if self.tightening_is_down:
            if self.allowed:
                at = bisect_right(self.allowed, value)
                value = self.allowed[at - 1] if at else self.allowed[0]
            else:
                value = value // self.grid * self.grid
        else:
            value = -(-value // self.grid) * self.grid
        return min(max(value, self.least), self.most)

    def reach(self, value: int) -> int | None:
        """Return the largest change from ``value`` at once, or None where nothing limits it."""
        if self.largest_step_share_bps is not None:
            return abs(value) * self.largest_step_share_bps // BPS
        return self.largest_step

    def clip(self, value: int, toward: int) -> int:
        """Return the settable value farthest from ``value`` toward ``toward`` within one step, or ``value`` itself."""
        step = self.reach(value)
        far = toward if step is None else min(max(toward, value - step), value + step)
        if self.allowed or far == toward:
            return far if self.is_settable(far) else value
        # Back toward where it stands: a step must not be exceeded by rounding.
        down = toward < value
        far = -(-far // self.grid) * self.grid if down else far // self.grid * self.grid
        is_between = toward <= far < value if down else value < far <= toward
        return far if is_between and self.is_settable(far) else value

    def stops(self, value: int, toward: int) -> Iterator[int]:
        """Yield the settable values from ``toward`` back to ``value``, both included."""
        yield toward
        if self.allowed:
            between = [one for one in self.allowed if min(value, toward) < one < max(value, toward)]
            yield from between if toward < value else reversed(between)
        elif toward < value:
            yield from range((toward // self.grid + 1) * self.grid, value, self.grid)
        elif toward > value:
            yield from range((toward - 1) // self.grid * self.grid, value, -self.grid)
        if value != toward:
            yield value

    def shown(self, value: int) -> str:
        """Return a value with its unit."""
        if self.unit == "bps":
            return f"{value / 100:g} %"
        return f"{value}x" if self.unit == "times" else f"{value}"


@dataclass(frozen=True)
class Rule:
    """A named rule over a whole set.

    Attributes
    ----------
    name
        Its name in a profile.
    reads
        Keys that it looks at.
    broken
        From the values of those keys to a sentence, or None where the rule holds.
    """

    name: str
    reads: tuple[str, ...]
    broken: Callable[..., str | None]

    def fault(self, values: Values) -> str | None:
        """Return what is wrong with a set, or None."""
        return self.broken(*(values[key] for key in self.reads))


def _below(low: str, high: str) -> Callable[[int, int], str | None]:
    def broken(first: int, second: int) -> str | None:
        return None if first < second else f"{low} {first / 100:g} % does not lie below {high} {second / 100:g} %"

    return broken


def _collateral(lt: int, bonus: int) -> str | None:
    if lt * (BPS + bonus) <= BPS * BPS:
        return None
    return f"threshold {lt / 100:g} % with bonus {bonus / 100:g} % hands out more than the collateral"


def _leverage(im: int, leverage: int) -> str | None:
    if leverage == 1 or leverage * im <= BPS:
        return None
    return f"leverage {leverage}x asks for less than initial margin {im / 100:g} %"


def _one_over(im: int, leverage: int) -> str | None:
    wanted = margin_of_leverage(leverage)
    return None if im == wanted else f"initial margin {im / 100:g} % is not one over leverage {leverage}x"


def _half(mm: int, leverage: int) -> str | None:
    wanted = half_margin_of_leverage(leverage)
    return None if mm == wanted else f"maintenance margin {mm / 100:g} % is not half of one over leverage {leverage}x"


def _follows(lt: int, bonus: int) -> str | None:
    wanted = morpho_bonus(lt)
    return None if bonus == wanted else f"bonus {bonus / 100:g} % is not the {wanted / 100:g} % of LLTV {lt / 100:g} %"


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("ltv_below_lt", ("ltv", "lt"), _below("LTV", "liquidation threshold")),
        Rule("bonus_within_collateral", ("lt", "bonus"), _collateral),
        Rule("borrow_below_liquidate", ("ltv", "lt"), _below("borrow factor", "liquidate factor")),
        Rule("liquidate_below_factor", ("lt", "liquidation_factor"), _below("liquidate factor", "liquidation factor")),
        Rule("mm_below_im", ("mm", "im"), _below("maintenance margin", "initial margin")),
        Rule("leverage_within_margin", ("im", "max_leverage"), _leverage),
        Rule("im_is_one_over_leverage", ("im", "max_leverage"), _one_over),
        Rule("mm_is_half_of_im", ("mm", "max_leverage"), _half),
        Rule("bonus_follows_lltv", ("lt", "bonus"), _follows),
    )
}
"""Every rule that a profile may name."""


def margin_of_leverage(leverage: int) -> int:
    """Return the initial margin of a leverage, basis points, rounded up."""
    return -(-BPS // leverage)


def half_margin_of_leverage(leverage: int) -> int:
    """Return half the initial margin at the largest leverage, basis points, rounded up."""
    return -(-BPS // (2 * leverage))


def leverage_of_margin(im: int) -> int:
    """Return the leverage of an initial margin, whole times, at least 1."""
    return max(BPS // im, 1)


def morpho_bonus(lltv: int) -> int:
    r"""Bonus that follows from a loan-to-value limit at Morpho, basis points, rounded up.

    .. math:: b = \min\left(1.15, \frac{1}{0.3\,LLTV + 0.7}\right) - 1

    Parameters
    ----------
    lltv
        Basis points.

    Notes
    -----
    Source: the protocol's constants, cursor 0.3 and largest factor 1.15.
    """
    whole = 3 * lltv + 7 * BPS
    return min(1500, -(-(10 * BPS * BPS - BPS * whole) // whole))


@dataclass(frozen=True)
class Derivation:
    """A parameter that follows from others: its key, the key that it is made from, and how."""

    name: str
    makes: str
    reads: str
    made: Callable[[int], int]


DERIVATIONS: Mapping[str, Derivation] = {
    one.name: one
    for one in (
        Derivation("leverage_of_margin", "max_leverage", "im", leverage_of_margin),
        Derivation("margin_of_leverage", "im", "max_leverage", margin_of_leverage),
        Derivation("half_margin_of_leverage", "mm", "max_leverage", half_margin_of_leverage),
        Derivation("morpho_bonus", "bonus", "lt", morpho_bonus),
    )
}
"""Every derivation that a profile may name."""


@dataclass(frozen=True)
class VenueProfile:
    """What one venue allows for one product.

    Attributes
    ----------
    id, name
        Canonical id and the name that reports print.
    product
        ``lending`` or ``perpetual``.
    parameters
        Those that can be set.
    rules
        Names of `RULES` that a whole set must keep.
    derivations
        Names of `DERIVATIONS`: parameters that follow.
    expiry_hours
        After publication a change not carried out by then is void; None where it never is.
    """

    id: str
    name: str
    product: str
    parameters: tuple[Parameter, ...]
    rules: tuple[str, ...] = ()
    derivations: tuple[str, ...] = ()
    expiry_hours: float | None = None

    def __post_init__(self) -> None:
        own = [one.key for one in self.parameters]
        words = [one.name for one in self.parameters]
        if len(set(own)) != len(own) or len(set(words)) != len(words):
            raise ValueError(f"{self.id}: names a parameter twice")
        for kind, names, known in (
            ("rule", self.rules, RULES),
            ("derivation", self.derivations, DERIVATIONS),
        ):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ValueError(f"{self.id}: unknown {kind} {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        needed = {one.key for one in self.parameters if not one.is_optional}
        for name in self.derivations:
            made = DERIVATIONS[name]
            if made.makes in own or made.reads not in needed:
                raise ValueError(f"{self.id}: derivation {name} makes {made.makes} from {made.reads}, which is not set")
            needed.add(made.makes)
        for name in self.rules:
            lacking = [key for key in RULES[name].reads if key not in needed]
            if lacking:
                raise ValueError(f"{self.id}: rule {name} reads {', '.join(lacking)}, which this venue has not")

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that can be set."""
        return tuple(one.key for one in self.parameters)

    @property
    def derived(self) -> tuple[str, ...]:
        """Keys that follow from others."""
        return tuple(DERIVATIONS[name].makes for name in self.derivations)

    def parameter(self, key: str) -> Parameter:
        """Return a parameter by its key or its own name.

        Raises
        ------
        ValueError
            Names the parameters that the venue has.
        """
        for one in self.parameters:
            if key in (one.key, one.name):
                return one
        known = ", ".join(f"{one.key} ({one.name})" for one in self.parameters)
        raise ValueError(f"{self.id}: no parameter {key!r}; it has {known}")

    def settable(self, values: Values) -> dict[str, int]:
        """Return the part of a set that can be set, in the profile's order.

        Raises
        ------
        ValueError
            Where a parameter is unknown or one that a set needs is missing.
        """
        unknown = sorted(set(values) - set(self.keys) - set(self.derived))
        if unknown:
            raise ValueError(f"{self.id}: unknown parameter(s) {', '.join(unknown)}; it has {', '.join(self.keys)}")
        lacking = [one.key for one in self.parameters if not one.is_optional and one.key not in values]
        if lacking:
            raise ValueError(f"{self.id}: the set lacks {', '.join(lacking)}; a set is judged whole or not at all")
        return {key: int(values[key]) for key in self.keys if key in values}

    def whole(self, values: Values) -> dict[str, int]:
        """Return a set together with the parameters that follow from it; stated ones are kept as stated."""
        found = self.settable(values)
        for name in self.derivations:
            one = DERIVATIONS[name]
            found[one.makes] = values[one.makes] if one.makes in values else one.made(found[one.reads])
        return found

    def violations(self, values: Values, before: Values | None = None) -> tuple[str, ...]:
        """Test a whole set; one sentence a violation, empty where it holds.

        Parameters
        ----------
        values
            The set.
        before
            Set in force: a value that stays as it was need not lie on the grid or within the bounds, for nobody sets
            it. None tests every value.

        Raises
        ------
        ValueError
            Where the set is no set of this venue.
        """
        whole = self.whole(values)
        found = [fault for name in self.rules if (fault := RULES[name].fault(whole)) is not None]
        for one in self.parameters:
            value = whole.get(one.key)
            if value is None or (before is not None and before.get(one.key) == value):
                continue
            if not one.is_settable(value):
                found.append(_unsettable(one, value))
        return tuple(found)


def _unsettable(parameter: Parameter, value: int) -> str:
    shown = f"{parameter.name} {parameter.shown(value)}"
    if value == 0 and not parameter.may_be_zero:
        return f"{shown} cannot be set on the usual way"
    if not parameter.least <= value <= parameter.most:
        return f"{shown} lies outside {parameter.shown(parameter.least)} to {parameter.shown(parameter.most)}"
    return f"{shown} is none of the values that the venue allows"


def translated(profile: VenueProfile, values: Values) -> dict[str, int]:
    r"""Say a set in a venue's parameters, not rounded on its grids: what is in force stays what it is.

    .. math:: LF = \lfloor 1/(1+b) \rfloor, \qquad L = \min(\lfloor 1/2m \rfloor, \lfloor 1/IM \rfloor)

    Parameters
    ----------
    profile
        Venue.
    values
        ``lt, ltv, bonus`` or ``mm, im``, basis points; more keys are ignored where the venue has no such parameter.

    Raises
    ------
    ValueError
        Where a parameter of the venue follows from none that is given.

    Notes
    -----
    A venue with one factor for borrowing and liquidation gets the threshold.
    """
    found: dict[str, int] = {}
    for one in profile.parameters:
        if one.key in values:
            found[one.key] = int(values[one.key])
        elif one.key == "liquidation_factor" and "bonus" in values:
            found[one.key] = BPS * BPS // (BPS + values["bonus"])
        elif one.key == "max_leverage" and "mm" in values and "im" in values:
            found[one.key] = min(BPS // max(2 * values["mm"], 1), BPS // max(values["im"], 1))
        elif not one.is_optional:
            raise ValueError(f"{profile.id}: {one.name} follows from none of {', '.join(sorted(values))}")
    return found


def expressed(profile: VenueProfile, values: Values) -> dict[str, int]:
    """Say a budget's set in a venue's parameters, rounded on its grids toward the tighter side.

    Parameters
    ----------
    profile, values
        As in `translated`.

    Returns
    -------
    dict
        What can be set. A value is looser than asked only where a bound forbids the tighter one.
    """
    return {key: profile.parameter(key).nearest(value) for key, value in translated(profile, values).items()}
