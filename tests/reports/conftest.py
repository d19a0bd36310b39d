"""Inputs of a report from one small night, and ways to change them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from tests_support import make_profile

from assets.risk_report import gather
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import run_nightly
from reports import render, view
from reports.view import ReportInputs, ReportView

BY_SYMBOL = (
    "prices",
    "forecasts",
    "fits",
    "references",
    "fit_health",
    "refusals",
    "thresholds",
    "budgets",
    "quantiles",
    "triggers",
    "breaches",
    "recommendations",
    "sensitivities",
    "in_force",
    "tiers",
    "caps",
    "implied",
    "attributions",
    "publications",
    "cards",
)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame) -> Path:
    """Two nights of the small profile: the folder of its configuration and its store."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        settings = make_profile(folder, patch, candles)
        assert run_nightly(settings, date(2022, 5, 30)).is_success
        assert run_nightly(settings, date(2022, 5, 31)).is_success
    return folder


@pytest.fixture(scope="session")
def inputs(night: Path) -> ReportInputs:
    """What the report of the small profile's last day is made from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIMSOLL_HOME", str(night / "var"))
        settings = settings_module.load(night / "small.toml")
        with warehouse_of(settings).session() as session:
            return gather(session, settings, date(2022, 5, 31))


@pytest.fixture(scope="session")
def built(inputs: ReportInputs) -> ReportView:
    return view.build(inputs)


@pytest.fixture(scope="session")
def rendered(built: ReportView) -> render.Rendered:
    return render.render(built)


@pytest.fixture(scope="session")
def with_markets(inputs: ReportInputs) -> Callable[[int], ReportInputs]:
    """Make a report of n markets: copies of the two that there are, under names of their own."""

    def make(n: int) -> ReportInputs:
        originals = [(f"M{at:02d}", inputs.markets[at % 2]) for at in range(n)]

        def copied(frame: pd.DataFrame, column: str) -> pd.DataFrame:
            if frame.empty:
                return frame
            parts = [frame[frame[column] == old.symbol].assign(**{column: new}) for new, old in originals]
            rest = frame[frame[column] == "POOLED"]
            return pd.concat([*parts, rest], ignore_index=True)

        frames = {name: copied(getattr(inputs, name), "symbol") for name in BY_SYMBOL}
        return replace(
            inputs,
            markets=tuple(replace(old, symbol=new, name=f"Market {new}") for new, old in originals),
            coverage=copied(inputs.coverage, "scope"),
            **frames,
        )

    return make
