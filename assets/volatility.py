"""Volatility: fits and one-day forecasts, walked forward and kept, and the newest fits beside ``arch``.

What lives here: reading prices, calling the walk-forward and the comparison, appending what they give. What does not:
the model (``plimsoll.volatility``), where it runs (``dagster_project.compute``), the calendar's arithmetic
(``dagster_project.calendars``).
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
import sql
from assets import _run
from assets._table import table_metadata
from dagster_project import calendars
from dagster_project.compute import Compute
from dagster_project.markets import Market
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import returns, volatility
from plimsoll.volatility import VolatilityFit, VolatilitySpec, WalkForward

FIT_KEY = ("fit_end", "symbol", "model", "methodology", "config_hash")
FORECAST_KEY = ("as_of", "target_date", "symbol", "model", "methodology", "config_hash")

NULLABLE = ("nu", "lam", "half_life_days", "loglikelihood", "ljung_box_p", "optimum_gap", "other_sigma_ratio")
DERIVED_COLUMNS = ("methodology", "config_hash", "revision")
PARAMETERS = ("mu", "omega", "alpha", "gamma", "beta", "nu", "lam")


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
        model=knobs.model,
        refit=knobs.refit,
    )


def expected_rows(prices: pd.DataFrame, market: Market, minimum: int) -> pd.DataFrame:
    """List the forecasts that prices allow: ``as_of, target_date, input_hash``, oldest first."""
    known = prices["is_return_valid"].cumsum().to_numpy()
    following = calendars.next_session(market.calendar, prices["date"].iloc[-1].date())
    targets = [*prices["date"].iloc[1:], pd.Timestamp(following)]
    rows = pd.DataFrame({"as_of": prices["date"], "target_date": targets, "input_hash": prices["price_hash"]})
    return rows[known >= minimum].reset_index(drop=True)


def _fit_of_row(row: Mapping[Hashable, object]) -> VolatilityFit:
    values = {name: row[name] for name in VolatilityFit.__dataclass_fields__}
    for name, value in values.items():
        if isinstance(value, pd.Timestamp):
            values[name] = value.date()
        elif isinstance(value, float) and np.isnan(value):
            values[name] = None
    return VolatilityFit(**values)  # type: ignore[arg-type]


def _task(
    market: Market,
    settings: Settings,
    prices: pd.DataFrame,
    stored: pd.DataFrame,
    first: pd.Timestamp,
    peer_sigma: pd.Series | None,
    fits: tuple[VolatilityFit, ...] | None,
) -> dict[str, Any]:
    """Arguments of one market's walk forward from ``first``: arrays and plain values, fit to travel."""
    history = stored[stored["as_of"] < first].set_index("as_of")["sigma_daily"]
    return {
        "prices": prices[["date", "close_usd", "is_return_valid"]],
        "spec": spec_of(settings, market),
        "next_session": calendars.next_session(market.calendar, prices["date"].iloc[-1].date()),
        "peer_sigma": peer_sigma,
        "first_as_of": first.date(),
        "sigma_history": history if len(history) else None,
        "fits": fits,
    }


def _frames(walked: WalkForward, prices: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames of fits and of forecasts without identity columns."""
    hashes = prices.set_index("date")["price_hash"]
    made = pd.DataFrame(
        [{name: getattr(fit, name) for name in VolatilityFit.__dataclass_fields__} for fit in walked.fits]
    )
    if len(made):
        made["fit_end"] = pd.to_datetime(made["fit_end"])
        made["window_start"] = pd.to_datetime(made["window_start"])
        made["input_hash"] = made["fit_end"].map(hashes)
        for name in NULLABLE:
            made[name] = made[name].astype("float64")
    return made, walked.forecasts.assign(input_hash=walked.forecasts["as_of"].map(hashes))


def _peers(forecasts: dict[str, pd.DataFrame], symbol: str) -> pd.Series | None:
    others = [
        f.loc[f["rung"] != "ewma_short"].set_index("as_of")["sigma_daily"] for s, f in forecasts.items() if s != symbol
    ]
    others = [series for series in others if len(series)]
    return pd.concat(others, axis=1).median(axis=1).sort_index() if others else None


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the volatility assets of a configuration."""

    @dg.multi_asset(
        name="volatility",
        specs=[
            dg.AssetSpec(
                "volatility_fit",
                deps=["price"],
                partitions_def=partitions,
                description="Fit health: one GARCH(1,1)-t fit a market and day, with the rung of its ladder, the "
                "constraints it lies on, persistence, half-life, and the gap to its next best optimum.",
                group_name="volatility",
                kinds={"python", "duckdb"},
                code_version=plimsoll.METHODOLOGY,
            ),
            dg.AssetSpec(
                "volatility_forecast",
                deps=["price", "volatility_fit"],
                partitions_def=partitions,
                description="One-day volatility forecasts, walking forward: each row from data up to its as_of only.",
                group_name="volatility",
                kinds={"python", "duckdb"},
                code_version=plimsoll.METHODOLOGY,
            ),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,  # either can be asked for alone; one walk writes both tables all the same
    )
    def volatility_walk(
        context: dg.AssetExecutionContext, warehouse: Warehouse, compute: Compute
    ) -> Iterator[dg.MaterializeResult[None]]:
        run = _run.of(context, settings)
        with step("volatility"):
            with warehouse.session() as session:
                prices = session.query("prices", last=run.end)
                stored = session.query("forecasts", last=run.end, **run.identity)
            new_fits, new_rows = walk_markets(settings, compute, prices, stored)
            with warehouse.session() as session, session.transaction():
                fits = session.append("volatility_fit", run.stamped(new_fits), key=FIT_KEY) if len(new_fits) else 0
                rows = _run.with_vintage(run.stamped(new_rows), run, prices) if len(new_rows) else new_rows
                written = session.append("volatility_forecast", rows, key=FORECAST_KEY) if len(rows) else 0
                _run.commit(session, run, "volatility_forecast", written + fits, new_fits, new_rows)
        about = {
            "volatility_fit": {**table_metadata("volatility_fit", fits), **_rungs(new_fits)},
            "volatility_forecast": {
                **table_metadata("volatility_forecast", written),
                "markets": len(settings.markets),
            },
        }
        for table, metadata in about.items():
            if dg.AssetKey(table) in context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=table, metadata=metadata)

    @dg.asset(
        name="fit_reference",
        deps=["volatility_fit"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="The newest fit of each market held against arch on the same window: likelihood and volatility at "
        "the same parameters, the best optimum of several starts, standard errors.",
        group_name="volatility",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def fit_reference(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run, written = _run.of(context, settings), 0
        with step("reference"):
            # Each day of a range has a report of its own, whose gate asks for the fits that were in use on that day.
            for day in run.days:
                with warehouse.session() as session:
                    prices = session.query("prices", last=day)
                    fits = session.query("fits_in_use", last=day, **run.identity)
                    stored = session.query("fit_references", last=day, **run.identity)
                rows = run.stamped(compare_fits(prices, fits, stored))
                with warehouse.session() as session, session.transaction():
                    added = session.append("fit_reference", rows, key=FIT_KEY) if len(rows) else 0
                    _run.commit(session, run, "fit_reference", added, rows)
                written += added
        return dg.MaterializeResult(metadata=dict(table_metadata("fit_reference", written)))

    return [volatility_walk, fit_reference]


def _rungs(fits: pd.DataFrame) -> dict[str, Any]:
    """Count new fits by rung, and those without long-run variance."""
    if fits.empty:
        return {}
    counts = {f"fits_{rung}": int(n) for rung, n in fits["rung"].value_counts().sort_index().items()}
    own = fits[fits["rung"] != "ewma"]
    return {**counts, "igarch_share": round(float(own["is_igarch"].mean()), 4)} if len(own) else dict(counts)


def walk_markets(
    settings: Settings, compute: Compute, prices: pd.DataFrame, stored: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Walk every market from its first stale day; markets with a short history a second time, with their peers.

    Returns
    -------
    tuple of DataFrame
        Fits and forecasts from those days on, without identity columns; empty frames where everything is stored
        already.
    """
    everything: dict[str, pd.DataFrame] = {}
    due: dict[str, tuple[pd.DataFrame, pd.DataFrame, pd.Timestamp]] = {}
    for symbol in settings.markets:
        mine = prices[prices["symbol"] == symbol].reset_index(drop=True)
        kept = stored[stored["symbol"] == symbol]
        everything[symbol] = kept
        if mine.empty:
            continue
        expected = expected_rows(mine, settings.markets[symbol], settings.volatility.minimum_any)
        first = _run.first_stale(expected, kept, ["as_of", "target_date"])
        if first is not None:
            due[symbol] = (mine, kept, first)
    walks = _walked(settings, compute, due, {}, {})
    for symbol, walk in walks.items():
        _, kept, first = due[symbol]
        everything[symbol] = pd.concat([kept[kept["as_of"] < first], walk.forecasts])
    short = [symbol for symbol, walk in walks.items() if (walk.forecasts["rung"] == "ewma_short").any()]
    peers = {symbol: _peers(everything, symbol) for symbol in short}
    known = {symbol: sigma for symbol, sigma in peers.items() if sigma is not None}
    walks |= _walked(settings, compute, {symbol: due[symbol] for symbol in known}, known, walks)
    found = {symbol: _frames(walk, due[symbol][0]) for symbol, walk in walks.items()}
    fits = [f.assign(symbol=s, model=settings.volatility.model) for s, (f, _) in found.items() if len(f)]
    forecasts = [f.assign(symbol=s, model=settings.volatility.model) for s, (_, f) in found.items() if len(f)]
    return (
        pd.concat(fits, ignore_index=True) if fits else pd.DataFrame(),
        pd.concat(forecasts, ignore_index=True) if forecasts else pd.DataFrame(),
    )


def _walked(
    settings: Settings,
    compute: Compute,
    due: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, pd.Timestamp]],
    peers: Mapping[str, pd.Series],
    before: Mapping[str, WalkForward],
) -> dict[str, WalkForward]:
    """Walk the markets that are due, with their peers and the fits of the walk before where there are any."""
    tasks = [
        _task(
            settings.markets[symbol],
            settings,
            mine,
            kept,
            first,
            peers.get(symbol),
            before[symbol].fits if symbol in before else None,
        )
        for symbol, (mine, kept, first) in due.items()
    ]
    return dict(zip(due, compute.map(volatility.walk_forward, tasks), strict=True))


def compare_fits(prices: pd.DataFrame, fits: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Hold the fits in use against ``arch`` where no agreement is stored yet.

    Returns
    -------
    DataFrame
        Rows of ``fit_reference`` without methodology and configuration; rungs that ``arch`` does not have are left out.
    """
    # What objected is asked again: the cause may have been arch, and a rerun must be able to clear it.
    agreed = stored[stored["objection"] == ""]
    done = set(zip(agreed["symbol"], agreed["fit_end"], agreed["input_hash"], strict=True))
    rows = []
    for row in fits.to_dict("records"):
        if row["rung"] not in volatility.MODELS or (row["symbol"], row["fit_end"], row["input_hash"]) in done:
            continue
        r = returns.valid_returns(prices[prices["symbol"] == row["symbol"]])
        window = 100 * r[(r.index >= row["window_start"]) & (r.index <= row["fit_end"])].to_numpy()
        kept = {key: row[key] for key in ("fit_end", "symbol", "model", "rung", "input_hash")}
        try:
            found = volatility.compare(window, _fit_of_row(row))
        except ValueError as error:
            rows.append({**kept, "message": "", "objection": str(error)})
            continue
        errors = dict(zip(found.reference.names, found.reference.std_errors, strict=True))
        rows.append(
            kept
            | {
                "reference_loglikelihood": found.reference.loglikelihood,
                "gap": found.gap,
                "own_start_gap": found.own_start_gap,
                "same_point_gap": found.same_point_gap,
                "sigma_ratio": found.sigma_ratio,
                "same_point_sigma_ratio": found.same_point_sigma_ratio,
            }
            | {f"{name}_std_error": errors.get(name, np.nan) for name in PARAMETERS}
            | {"message": found.reference.message, "objection": found.objection}
        )
    columns = [c.name for c in sql.table("fit_reference").columns if c.name not in DERIVED_COLUMNS]
    frame = pd.DataFrame(rows, columns=columns)
    measured = [name for name in columns if name.endswith(("_gap", "gap", "_ratio", "_loglikelihood", "_error"))]
    return frame.astype(dict.fromkeys(measured, "float64"))
