"""What the budget of one use of one market is asked for, from configuration and store.

What lives here: specifications made of settings, and the frame of days that the core takes. What does not: the budget
(``plimsoll.budget``), storing it (``thresholds``).
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from math import lcm
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import plimsoll
from assets import _run
from dagster_project import in_force, venue_files
from dagster_project.challengers_config import IN_USE
from dagster_project.markets import Lending, Market, Perpetual
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll import budget, consensus, overshoot, smoothing
from plimsoll.budget import BudgetSpec, Costs, ProductSpec
from plimsoll.slippage import OrderBook, books_of, slippage_of, walk_constant_product
from plimsoll.slippage.admission import MAXIMUM_AGE_DAYS
from plimsoll.smoothing import SmoothingSpec

Floats = NDArray[np.float64]

DAY = pd.Timedelta(days=1)
SNAPSHOT_COLUMNS = ["snapshot_at", "symbol", "venue", "source_sha256"]
RATIO_COLUMNS = ["symbol", "side", "as_of", "challenger_ratio"]
FUNDING_PERIOD_HOURS = 8.0


@dataclass(frozen=True)
class Grids:
    """Steps of rounded parameters, basis points: of the threshold and the LTV, of the bonus, of margins."""

    lt: int
    bonus: int
    margin: int


def grids_of(settings: Settings, venue: str, product: str) -> Grids:
    """Return the grids of a venue's targets: values that lie on the knobs' grid and on the venue's."""
    knobs, profile = settings.budget, venue_files.bundled_profile(venue, product)

    def grid(ours: int, *keys: str) -> int:
        theirs = (one.grid for one in profile.parameters if one.key in keys and one.unit == "bps" and not one.allowed)
        return lcm(ours, *theirs)

    return Grids(
        lt=grid(knobs.lt_grid_bps, "lt", "ltv"),
        bonus=grid(knobs.bonus_grid_bps, "bonus"),
        margin=grid(knobs.margin_grid_bps, "mm", "im"),
    )


def budget_spec(settings: Settings, symbol: str, product: str) -> BudgetSpec:
    """Turn the knobs into the core's specification, on the grid of the venue that a market is used at."""
    knobs, grids = settings.budget, grids_of(settings, use_of(settings.markets[symbol], product).venue, product)
    return BudgetSpec(
        es_budget=knobs.es_budget,
        participation=knobs.participation,
        impact_coefficient=knobs.impact_coefficient,
        protocol_share=knobs.protocol_share,
        minimum_oracle_deviation=knobs.minimum_oracle_deviation,
        minimum_horizon_hours=knobs.minimum_horizon_hours,
        eta=settings.overshoot.eta,
        eta_deep=settings.overshoot.eta_deep,
        lt_grid_bps=grids.lt,
        bonus_grid_bps=grids.bonus,
        margin_grid_bps=grids.margin,
        smoothing=SmoothingSpec(
            rule=knobs.smoothing,
            stress_weight=knobs.stress_weight,
            buffer_share=knobs.buffer_share,
            replenish_days=knobs.replenish_days,
        ),
        model_gate=knobs.model_gate,
    )


def product_specs(settings: Settings, symbol: str) -> list[ProductSpec]:
    """List what a market is used for."""
    market = settings.markets[symbol]
    cap = settings.budget.cap_bps_by_class[market.market_class]
    specs = []
    if market.perpetual is not None:
        hours = 24.0 * settings.overshoot.buffer_days_perpetual
        specs.append(
            _spec(
                "perpetual",
                market.perpetual,
                cap,
                market.perpetual.funding_p95_per_8h * hours / FUNDING_PERIOD_HOURS,
                0,
            )
        )
    if market.lending is not None:
        grids = grids_of(settings, market.lending.venue, "lending")
        bonus = in_force.bonus_floor(settings, symbol, grids.bonus)
        specs.append(_spec("lending", market.lending, cap, 0.0, bonus))
    return specs


def _spec(product: str, use: Lending | Perpetual, cap_bps: int, funding: float, bonus_floor_bps: int) -> ProductSpec:
    latency = use.latency
    return ProductSpec(
        product=product,
        notional_usd=use.notional_usd,
        base_horizon_hours=use.base_hours,
        tail_probability_bps=use.tail_probability_bps,
        oracle_deviation=use.oracle_deviation,
        fee=use.fee,
        funding=funding,
        cap_bps=cap_bps,
        bonus_floor_bps=bonus_floor_bps,
        oracle_hours=None if latency is None else latency.oracle_hours,
        keeper_hours=None if latency is None else latency.keeper_hours,
        auction_hours=None if latency is None else latency.selling_hours,
        oracle_age_hours=use.oracle_age_hours,
        bonus_notional_usd=use.bonus_notional_usd if isinstance(use, Lending) else None,
        contract=use.contract if isinstance(use, Perpetual) else "linear",
    )


def chosen_quantiles(settings: Settings, quantiles: pd.DataFrame, product: str) -> pd.DataFrame:
    """One quantile row a target and side at the depth that the product uses."""
    if product == "lending":
        return overshoot.lending_depth(quantiles, settings.overshoot.minimum_dates)
    return quantiles[quantiles["trigger_depth"] == settings.overshoot.perpetual_depth]


@dataclass(frozen=True)
class Outside:
    """What the budget takes from beside prices, volatility and overshoot.

    Attributes
    ----------
    snapshots
        ``snapshot_at, symbol, venue, source_sha256`` of every stored order book.
    books
        Those with their levels that the days to be computed may use, any market.
    ratios
        ``symbol, side, as_of, challenger_ratio``: the challenger's move over that of the model in use, by day.
    """

    snapshots: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=SNAPSHOT_COLUMNS))
    books: tuple[OrderBook, ...] = ()
    ratios: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=RATIO_COLUMNS))

    def hashes(self, symbol: str, days: pd.Series, max_age_days: float) -> pd.Series:
        """Name what is here of a market on each day; empty where there is nothing."""
        out = pd.Series("", index=days.index, dtype="object")
        known = self.snapshots[self.snapshots["symbol"] == symbol]
        for at, venue, digest in known[["snapshot_at", "venue", "source_sha256"]].itertuples(index=False, name=None):
            age = days + pd.Timedelta(days=1) - pd.Timestamp(at)
            is_usable = (age > pd.Timedelta(0)) & (age <= pd.Timedelta(days=max_age_days))
            out = out.mask(is_usable, out + f"|{venue} {at} {digest}")
        mine = self.ratios[self.ratios["symbol"] == symbol]
        if len(mine):
            text = mine["side"] + "=" + mine["challenger_ratio"].map(repr)
            by_day = text.groupby(mine["as_of"]).agg("|".join)
            out = out + days.map(by_day).fillna("").astype(object)
        return out


def budget_days(
    settings: Settings,
    symbol: str,
    product: ProductSpec,
    side: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
    outside: Outside | None = None,
) -> pd.DataFrame:
    """Join what the budget of one market, product and side needs, one row a forecast.

    Parameters
    ----------
    settings, symbol, product, side
        Whose budget.
    prices, forecasts
        The market's whole histories: rules against procyclicality look back.
    quantiles
        The market's overshoot quantiles at the depths of the product; NaN where a day has none.
    outside
        Order books and challengers.
    """
    market, spec = settings.markets[symbol], budget_spec(settings, symbol, product.product)
    days = forecasts[["as_of", "target_date", "sigma_daily", "sigma_eff_daily", "rung"]].assign(
        sigma_stress_daily=smoothing.past_quantile(
            forecasts["sigma_daily"], spec.smoothing.stress_quantile, minimum=spec.smoothing.minimum_history
        )
    )
    chosen = quantiles[quantiles["side"] == side].drop(columns=["side", "symbol", "as_of"])
    days = days.merge(chosen, on="target_date", how="left", validate="one_to_one")
    buffer_name = "buffer_perp_sigma" if product.product == "perpetual" else "buffer_lending_sigma"
    bars = days[["as_of"]].merge(prices[["date", "adv_usd", "close_usd"]], left_on="as_of", right_on="date", how="left")
    measured = bars["adv_usd"] * (1 - market.adv_haircut)
    assumed = np.nan if market.assumed_adv_usd is None else market.assumed_adv_usd
    days = days.assign(
        oracle_error=oracle_errors(settings, product, side, prices, days["as_of"]),
        k=days[f"k_p{product.tail_probability_bps}"].to_numpy(),
        buffer_sigma=days[buffer_name].to_numpy(),
        adv_usd=measured.fillna(assumed).to_numpy(),
        close_usd=bars["close_usd"].to_numpy(),
    )
    return _with_outside(settings, symbol, product, side, days, outside or Outside())


def _with_outside(
    settings: Settings, symbol: str, product: ProductSpec, side: str, days: pd.DataFrame, outside: Outside
) -> pd.DataFrame:
    ratios = outside.ratios[(outside.ratios["symbol"] == symbol) & (outside.ratios["side"] == side)]
    by_day = pd.Series(ratios["challenger_ratio"].to_numpy(np.float64), index=pd.DatetimeIndex(ratios["as_of"]))
    days = days.assign(challenger_ratio=by_day.reindex(pd.DatetimeIndex(days["as_of"])).to_numpy(np.float64))
    if use_of(settings.markets[symbol], product.product).pool is None and not any(
        one.symbol == symbol for one in outside.books
    ):
        return days
    size = np.asarray([product.notional_usd])
    found = [costs_of(settings, symbol, product, side, row, outside)(size) for row in days.to_dict("records")]
    names = found[0].keys() if found else ()
    return days.assign(**{name: np.asarray([one[name][0] for one in found]) for name in names})


def costs_of(
    settings: Settings, symbol: str, product: ProductSpec, side: str, day: Mapping[Hashable, Any], outside: Outside
) -> Costs:
    """Slippage of order books and pools on a day, as a function of size."""
    knobs, use = settings.order_books, use_of(settings.markets[symbol], product.product)
    as_of, close = pd.Timestamp(day["as_of"]).date(), float(day["close_usd"])
    age = pd.Timedelta(days=MAXIMUM_AGE_DAYS if knobs is None else knobs.max_age_days)
    end = pd.Timestamp(as_of) + pd.Timedelta(days=1)
    books = [one for one in outside.books if one.symbol == symbol and end - age <= one.at < end]

    def costs(sizes: Floats) -> dict[str, Floats]:
        out = dict.fromkeys(("slippage_book", "slippage_book_least", "slippage_pool"), np.full(len(sizes), np.nan))
        if books and knobs is not None:
            found = slippage_of(
                books,
                symbol,
                side,
                sizes,
                as_of,
                max_age_days=knobs.max_age_days,
                haircut=knobs.depth_haircut,
                price_usd=close if np.isfinite(close) else None,
            )
            out |= {"slippage_book": found.value, "slippage_book_least": found.at_least}
        if use.pool is not None and use.pool.read_on <= as_of:
            walked = walk_constant_product(
                base_reserve=use.pool.base_units,
                quote_reserve_usd=use.pool.usd,
                fee=use.pool.fee,
                notional_usd=sizes,
                side=side,
            )
            # A pool that ends before the size is not left out: it is where the collateral would have to go.
            out |= {"slippage_pool": np.where(walked.is_absorbable, walked.average, np.inf)}
        return out

    return costs


def with_buffer(days: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    """Add the factor by which an exhaustible buffer stands above the budget; it remembers the whole history."""
    if spec.smoothing.rule != "buffer":
        return days
    plain = budget.walk_budget(days, product, side, replace(spec, smoothing=SmoothingSpec(rule="floor")))
    total = plain["lambda_total"].to_numpy(np.float64)
    sigma = days["sigma_daily"].to_numpy(np.float64)
    median = smoothing.past_quantile(sigma, 0.5, minimum=spec.smoothing.minimum_history)
    known = np.where(np.isfinite(median), total, np.nan)
    out = smoothing.exhaustible_buffer(
        known, sigma <= median, share=spec.smoothing.buffer_share, replenish_days=spec.smoothing.replenish_days
    )
    return days.assign(buffer_factor=np.where(np.isfinite(out), out / total, 1.0))


def newest_day(
    settings: Settings,
    symbol: str,
    product: ProductSpec,
    side: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
    budgets: pd.DataFrame,
    outside: Outside,
) -> pd.DataFrame:
    """Return the one row that the newest budget is made from; what a buffer remembers comes from the stored budget.

    Parameters
    ----------
    settings, symbol, product, side, prices, forecasts, quantiles, outside
        As in `budget_days`.
    budgets
        Stored thresholds, any market.
    """
    newest = budget_days(settings, symbol, product, side, prices, forecasts, quantiles, outside).tail(1)
    stored = budgets[
        (budgets["symbol"] == symbol)
        & (budgets["product"] == product.product)
        & (budgets["side"] == side)
        & budgets["as_of"].isin(newest["as_of"])
    ]
    total = stored["lambda_total"].to_numpy(np.float64)
    buffer = stored["lambda_smoothing"].to_numpy(np.float64)
    known = len(total) == 1 and np.isfinite(total[0]) and settings.budget.smoothing == "buffer"
    return newest.assign(buffer_factor=total[0] / (total[0] - buffer[0]) if known else 1.0)


def beside(session: Session, settings: Settings, last: date) -> Outside:
    """Name what the budget takes from beside prices, up to a day; levels of books are read by `with_books`."""
    ratios = _ratios(session, settings, last)
    if settings.order_books is None:
        return Outside(ratios=ratios)
    known = session.query("order_book_snapshots")
    return Outside(snapshots=known[known["snapshot_at"] < pd.Timestamp(last) + DAY], ratios=ratios)


def _ratios(session: Session, settings: Settings, last: date) -> pd.DataFrame:
    """Read what the model that the budget is held against says of each day, over the one in use."""
    if not settings.challengers.is_on:
        return pd.DataFrame(columns=RATIO_COLUMNS)
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    return session.query("challenger_ratios", last=last, in_use=IN_USE, **identity)[RATIO_COLUMNS]


def with_books(session: Session, settings: Settings, outside: Outside, first: date, last: date) -> Outside:
    """Add the books that days from ``first`` to ``last`` may use."""
    knobs = settings.order_books
    if knobs is None:
        return outside
    oldest = (pd.Timestamp(first) - pd.Timedelta(days=knobs.max_age_days)).floor("D")
    return replace(outside, books=books_of(session.query("order_books", first=oldest.date(), last=last)))


def with_hashes(settings: Settings, quantiles: pd.DataFrame, outside: Outside) -> pd.DataFrame:
    """Name in each quantile row's hash what else its budget is made from; unchanged where there is nothing else."""
    knobs = settings.order_books
    age = MAXIMUM_AGE_DAYS if knobs is None else knobs.max_age_days
    out = quantiles.copy()
    for symbol, rows in quantiles.groupby("symbol", sort=False):
        more = outside.hashes(str(symbol), rows["as_of"], age) + _bonus_of_file(settings, str(symbol))
        told = more[more != ""]
        mine = out.loc[told.index, "input_hash"]
        out.loc[told.index, "input_hash"] = [_run.digest(*both) for both in zip(mine, told, strict=True)]
    return out


def _bonus_of_file(settings: Settings, symbol: str) -> str:
    """Name the bonus in force where a file states it; one of the configuration stands in its hash."""
    lending = settings.markets[symbol].lending
    if settings.in_force is None or lending is None or lending.in_force is not None:
        return ""
    return f"|bonus {in_force.bonus_floor(settings, symbol, grids_of(settings, lending.venue, 'lending').bonus)}"


def use_of(market: Market, product: str) -> Lending | Perpetual:
    """Return the configured use of a market.

    Raises
    ------
    ValueError
        Where the market has no such use.
    """
    use = market.lending if product == "lending" else market.perpetual
    if use is None:
        raise ValueError(f"{market.name}: no table [{product}] is configured")
    return use


def oracle_errors(
    settings: Settings, product: ProductSpec, side: str, prices: pd.DataFrame, days: pd.Series
) -> np.ndarray:
    """Oracle error on days: the feed's deviation, what venues differ by, and twice its log cost where few stand."""
    floor = max(product.oracle_deviation, settings.budget.minimum_oracle_deviation)
    errors = consensus.oracle_error_days(
        floor,
        prices["dispersion_bp"].to_numpy(np.float64) / 1e4,
        prices["venue_count"].to_numpy(np.float64),
        side,
        is_reference=settings.source.is_reference,
    )
    by_day = pd.Series(errors, index=pd.DatetimeIndex(prices["date"]))
    return by_day.reindex(pd.DatetimeIndex(days)).to_numpy(np.float64)
