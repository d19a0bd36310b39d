"""In force: every set that stands, from the configuration and from its file, by market, product and side.

What lives here: putting both together, and saying a venue's set in this project's terms. What does not: reading a file
(``in_force_files``), what may follow it (``plimsoll.publication``).
"""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from dagster_project import in_force_files, venue_files
from dagster_project.in_force_files import MAX_AGE_DAYS, InForceError, InForceSet, Key
from dagster_project.settings import Settings
from plimsoll.recommendations import LendingSet, PerpetualSet
from plimsoll.venues import BPS, VenueProfile

Profiles = dict[tuple[str, str], VenueProfile]
Stamp = tuple[int, int, int]
ROW_COLUMNS = ["symbol", "product", "venue", "read_on", "parameter", "value_bps"]


def profiles(settings: Settings) -> Profiles:
    """Return the venue's profile of every use, by market and product."""
    return {
        (symbol, product): venue_files.bundled_profile(venue, product) for symbol, product, venue in settings.venues()
    }


def sets(settings: Settings) -> dict[Key, InForceSet]:
    """Return every set in force; sets of a file that has not changed are made once.

    A lending set of the configuration protects loans against the market (side ``long``), its margins hold for both
    sides; a file says the side itself.

    Raises
    ------
    InForceError
        Names the file and the row at fault, or the market that both state.
    """
    known, inline = profiles(settings), _inline(settings)
    path = None if settings.in_force is None else settings.in_force.path
    if path is None:
        return inline
    return in_force_files.combined(path, _of_file(path, _stamp(path), tuple(known.items())), inline)


def max_age_days(settings: Settings) -> int:
    """Return the age beyond which a value in force is stale."""
    return MAX_AGE_DAYS if settings.in_force is None else settings.in_force.max_age_days


def _inline(settings: Settings) -> dict[Key, InForceSet]:
    found, known = {}, profiles(settings)
    for (symbol, product), profile in known.items():
        market = settings.markets[symbol]
        use = market.lending if product == "lending" else market.perpetual
        if use is None or use.in_force is None:
            continue
        values = {
            name.removesuffix("_bps"): value
            for name, value in use.in_force.model_dump().items()
            if name.endswith("_bps")
        }
        for side in ("long",) if product == "lending" else ("long", "short"):
            one = in_force_files.inline_set(
                profile, symbol=symbol, side=side, values=values, read_on=use.in_force.read_on
            )
            found[one.key] = one
    return found


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise InForceError(f"{path}: cannot be read: {error.strerror}; see [in_force] path") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=8)
def _of_file(
    path: Path, stamp: Stamp, known: tuple[tuple[tuple[str, str], VenueProfile], ...]
) -> dict[Key, InForceSet]:
    return in_force_files.sets_of(path, in_force_files.read(path), dict(known))


def plain(profile: VenueProfile, one: InForceSet) -> LendingSet | PerpetualSet:
    r"""Say a venue's set in this project's terms.

    .. math:: b = \lceil 1/LF \rceil - 1, \qquad m = \lceil 1/(2L) \rceil, \qquad IM = \lceil 1/L \rceil

    Parameters
    ----------
    profile, one
        Venue and set.

    Notes
    -----
    A venue with one factor for borrowing and liquidation lends up to its threshold.
    """
    whole = profile.whole(one.values)
    if profile.product == "perpetual":
        return PerpetualSet(whole["mm"], whole["im"], whole.get("max_leverage", BPS // whole["im"]))
    factor = whole.get("liquidation_factor", BPS)
    bonus = whole["bonus"] if "bonus" in whole else -(-BPS * BPS // factor) - BPS
    return LendingSet(whole["lt"], whole.get("ltv", whole["lt"]), bonus)


def live(settings: Settings) -> dict[Key, LendingSet | PerpetualSet]:
    """Return every set in force in this project's terms."""
    known = profiles(settings)
    return {key: plain(known[key[:2]], one) for key, one in sets(settings).items()}


def bonus_floor(settings: Settings, symbol: str, grid_bps: int) -> int:
    """Bonus in force of a lending market, basis points; 0 where none is.

    Where a venue states a penalty instead, its bonus is no whole number: rounded down on the grid it leads back to the
    penalty in force.
    """
    market = settings.markets[symbol]
    if market.lending is None:
        return 0
    if market.lending.in_force is not None:
        return market.lending.in_force.bonus_bps
    found, profile = sets(settings), profiles(settings)[symbol, "lending"]
    one = found.get((symbol, "lending", "long")) or found.get((symbol, "lending", "short"))
    if one is None:
        return 0
    whole = profile.whole(one.values)
    return whole["bonus"] if "bonus" in whole else penalty_bonus(whole["liquidation_factor"], grid_bps)


def penalty_bonus(factor: int, grid_bps: int) -> int:
    """Return the bonus of a liquidation factor, rounded down on a grid; both basis points."""
    return (BPS * BPS // factor - BPS) // grid_bps * grid_bps


def venue_of(settings: Settings, one: InForceSet) -> str:
    """Return the words for where a set stands: the configuration's own, else the profile's name."""
    market = settings.markets[one.symbol]
    use = market.lending if one.product == "lending" else market.perpetual
    held = use.in_force if use is not None else None
    return held.venue if held is not None else profiles(settings)[one.symbol, one.product].name


def rows(settings: Settings) -> pd.DataFrame:
    """Return sets in force in this project's terms, one row a parameter; of two sides the long one."""
    found = []
    ours, known = live(settings), sets(settings)
    for symbol, product, _ in settings.venues():
        key = next(((symbol, product, side) for side in ("long", "short") if (symbol, product, side) in ours), None)
        if key is None:
            continue
        stands, one = ours[key], known[key]
        values = (
            {"lt": stands.lt_bps, "ltv": stands.ltv_bps, "bonus": stands.bonus_bps}
            if isinstance(stands, LendingSet)
            else {"mm": stands.mm_bps, "im": stands.im_bps}
        )
        read_on = min(one.read_on.values())
        found += [(symbol, product, venue_of(settings, one), read_on, name, value) for name, value in values.items()]
    return pd.DataFrame(found, columns=ROW_COLUMNS)
