"""Sizes as configured: open interest scales the initial margin that the budget gives, and only where it is stated."""

from pathlib import Path

import pandas as pd
import pytest

from assets import sizes
from dagster_project import settings as settings_module
from dagster_project.markets import OpenInterest
from dagster_project.settings import Settings


@pytest.fixture(scope="module")
def crypto() -> Settings:
    return settings_module.load(Path(__file__).resolve().parents[2] / "config" / "crypto.toml")


def _with(settings: Settings, usd: float) -> Settings:
    market = settings.markets["BTC"]
    assert market.perpetual is not None
    stated = OpenInterest(usd=usd, lower_usd=25e6, upper_usd=50e6)
    use = market.perpetual.model_copy(update={"open_interest": stated})
    return settings.model_copy(update={"markets": {"BTC": market.model_copy(update={"perpetual": use})}})


@pytest.mark.parametrize(("usd", "im_bps"), [(25e6, 500), (35e6, 4300), (50e6, 10_000), (9e9, 10_000)])
def test_open_interest_scales_the_initial_margin(crypto: Settings, usd: float, im_bps: int) -> None:
    """The worked table of dYdX v4: 5 % at 25 million becomes 43 % at 35 and all at 50."""
    found = sizes.open_interest_row(_with(crypto, usd), "BTC", 500)
    assert found is not None
    assert (found["base_bps"], found["im_bps"]) == (500, im_bps)


def test_nothing_is_scaled_where_nothing_is_stated(crypto: Settings) -> None:
    assert sizes.open_interest_row(crypto, "BTC", 500) is None
    assert sizes.open_interest_row(_with(crypto, 35e6), "BTC", pd.NA) is None


def test_bounds_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="must lie above lower_usd"):
        OpenInterest(usd=1.0, lower_usd=2.0, upper_usd=2.0)
