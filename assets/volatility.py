"""Volatility: fits and one-day forecasts, walked forward and kept.

What lives here: reading prices, calling the walk-forward, appending fits and forecasts. What does not: the model
(``plimsoll.volatility``), the calendar's arithmetic (``dagster_project.calendars``).
"""

from collections.abc import Hashable, Mapping
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project import calendars
from dagster_project.progress import step
from dagster_project.settings import Market, Settings
from dagster_project.warehouse import Warehouse
from plimsoll import volatility
from plimsoll.volatility import VolatilityFit, VolatilitySpec

FIT_KEY = ("fit_end", "symbol", "model", "methodology", "config_hash")
FORECAST_KEY = ("as_of", "target_date", "symbol", "model", "methodology", "config_hash")


def spec_of(settings: Settings, market: Market) -> VolatilitySpec:
    """Turn the knobs and a market's calendar into the core's specification."""
    knobs = settings.volatility
    return VolatilitySpec(
        window=knobs.window,
        minimum_own_fit=knobs.minimum_own_fit,
        minimum_any=knobs.minimum_any,
        ewma_lambda=knobs.ewma_lambda,
        long_run_years=knobs.long_run_years,
        sigma_floor_daily=knobs.sigma_floor_daily,
        shrinkage_observations=knobs.shrinkage_observations,
        periods_per_year=calendars.periods_per_year(market.calendar),
    )


def expected_rows(prices: pd.DataFrame, market: Market, minimum: int) -> pd.DataFrame:
    """List the forecasts that prices allow: ``as_of, target_date, input_hash``, oldest first."""
    known = prices["is_return_valid"].cumsum().to_numpy()
    following = calendars.next_session(market.calendar, prices["date"].iloc[-1].date())
    targets = [*prices["date"].iloc[1:], pd.Timestamp(following)]
    rows = pd.DataFrame({"as_of": prices["date"], "target_date": targets, "input_hash": prices["price_hash"]})
    return rows[known >= minimum].reset_index(drop=True)


def _known_fits(fits: pd.DataFrame, prices: pd.DataFrame) -> dict[date, VolatilityFit]:
    hashes = dict(zip(prices["date"], prices["price_hash"], strict=True))
    valid = fits[[hashes.get(day) == own for day, own in zip(fits["fit_end"], fits["input_hash"], strict=True)]]
    return {fit.fit_end: fit for fit in map(_fit_of_row, valid.to_dict("records"))}


def _fit_of_row(row: Mapping[Hashable, object]) -> VolatilityFit:
    values = {name: row[name] for name in VolatilityFit.__dataclass_fields__}
    for name, value in values.items():
        if isinstance(value, pd.Timestamp):
            values[name] = value.date()
        elif isinstance(value, float) and np.isnan(value):
            values[name] = None
    return VolatilityFit(**values)  # type: ignore[arg-type]


def _walk(
    market: Market,
    settings: Settings,
    prices: pd.DataFrame,
    fits: pd.DataFrame,
    stored: pd.DataFrame,
    first: pd.Timestamp,
    peer_sigma: pd.Series | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Walk one market forward from ``first``; frames of new fits and of forecasts without identity columns."""
    history = stored[stored["as_of"] < first].set_index("as_of")["sigma_daily"]
    walked = volatility.walk_forward(
        prices,
        spec=spec_of(settings, market),
        next_session=calendars.next_session(market.calendar, prices["date"].iloc[-1].date()),
        peer_sigma=peer_sigma,
        known_fits=_known_fits(fits, prices),
        first_as_of=first.date(),
        sigma_history=history if len(history) else None,
    )
    hashes = prices.set_index("date")["price_hash"]
    made = pd.DataFrame(
        [{name: getattr(fit, name) for name in VolatilityFit.__dataclass_fields__} for fit in walked.fits]
    )
    if len(made):
        made["fit_end"] = pd.to_datetime(made["fit_end"])
        made["window_start"] = pd.to_datetime(made["window_start"])
        made["input_hash"] = made["fit_end"].map(hashes)
        for name in ("nu", "half_life_days", "loglikelihood", "ljung_box_p"):
            made[name] = made[name].astype("float64")
    forecasts = walked.forecasts.assign(input_hash=walked.forecasts["as_of"].map(hashes))
    return made, forecasts


def _peers(forecasts: dict[str, pd.DataFrame], symbol: str) -> pd.Series | None:
    others = [
        f.loc[f["rung"] != "ewma_short"].set_index("as_of")["sigma_daily"] for s, f in forecasts.items() if s != symbol
    ]
    others = [series for series in others if len(series)]
    return pd.concat(others, axis=1).median(axis=1).sort_index() if others else None


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the volatility assets of a configuration."""

    @dg.asset(
        name="volatility_forecast",
        deps=["price"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="volatility",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="One-day volatility forecasts by GARCH(1,1)-t with its ladder, walking forward: weekly refits, "
        "daily filtering, each row from data up to its as_of only. Writes volatility_fit as well.",
    )
    def volatility_forecast(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("volatility"), warehouse.session() as session:
            prices = session.query("prices", last=run.end)
            fits = session.query("fits", last=run.end, **run.identity)
            stored = session.query("forecasts", last=run.end, **run.identity)
        new_fits, new_rows = walk_markets(settings, prices, fits, stored)
        with warehouse.session() as session, session.transaction():
            written_fits = session.append("volatility_fit", run.stamped(new_fits), key=FIT_KEY) if len(new_fits) else 0
            rows = _run.with_vintage(run.stamped(new_rows), run, prices) if len(new_rows) else new_rows
            written = session.append("volatility_forecast", rows, key=FORECAST_KEY) if len(rows) else 0
            _run.commit(session, run, "volatility_forecast", written + written_fits, new_fits, new_rows)
        return dg.MaterializeResult(
            metadata={
                **table_metadata("volatility_forecast", written),
                "fits": written_fits,
                "markets": len(settings.markets),
            }
        )

    return [volatility_forecast]


def walk_markets(
    settings: Settings, prices: pd.DataFrame, fits: pd.DataFrame, stored: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Walk every market from its first stale day; markets with a short history a second time, with their peers.

    Returns
    -------
    tuple of DataFrame
        New fits and new forecasts, without identity columns; empty frames where everything is stored already.
    """
    fit_frames: dict[str, pd.DataFrame] = {}
    row_frames: dict[str, pd.DataFrame] = {}
    everything: dict[str, pd.DataFrame] = {}
    starts: dict[str, pd.Timestamp] = {}
    for symbol, market in settings.markets.items():
        mine = prices[prices["symbol"] == symbol].reset_index(drop=True)
        kept = stored[stored["symbol"] == symbol]
        everything[symbol] = kept
        if mine.empty:
            continue
        expected = expected_rows(mine, market, settings.volatility.minimum_any)
        first = _run.first_stale(expected, kept, ["as_of", "target_date"])
        if first is None:
            continue
        with step(f"volatility {symbol}", detail=f"from {first.date()}"):
            made, rows = _walk(market, settings, mine, fits[fits["symbol"] == symbol], kept, first, None)
        starts[symbol], fit_frames[symbol], row_frames[symbol] = first, made, rows
        everything[symbol] = pd.concat([kept[kept["as_of"] < first], rows])
    for symbol, rows in list(row_frames.items()):
        peers = _peers(everything, symbol) if (rows["rung"] == "ewma_short").any() else None
        if peers is None:
            continue
        mine = prices[prices["symbol"] == symbol].reset_index(drop=True)
        seen = pd.concat([fits[fits["symbol"] == symbol], fit_frames[symbol].assign(symbol=symbol)])
        kept = stored[stored["symbol"] == symbol]
        _, row_frames[symbol] = _walk(settings.markets[symbol], settings, mine, seen, kept, starts[symbol], peers)
    new_fits = [f.assign(symbol=s, model=_run.MODEL) for s, f in fit_frames.items() if len(f)]
    new_rows = [f.assign(symbol=s, model=_run.MODEL) for s, f in row_frames.items() if len(f)]
    return (
        pd.concat(new_fits, ignore_index=True) if new_fits else pd.DataFrame(),
        pd.concat(new_rows, ignore_index=True) if new_rows else pd.DataFrame(),
    )
