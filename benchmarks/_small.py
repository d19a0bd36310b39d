"""A small profile: two simulated markets, two readers, quick to run; for tests and for what is killed on purpose.

What lives here: its configuration and its candles. What does not: what is done with them.
"""

from pathlib import Path

import numpy as np
import pandas as pd

HOURS = 24

CONFIG = """
[profile]
name = "small"
title = "Small test profile"
about = "Simulated markets."
first_partition = 2020-01-01
last_partition = 2022-06-30
is_schedule_on = false
is_demo = true

[source]
kind = "candles"
name = "simulated"
path = "{path}"

[mail]
sender = "plimsoll@example.org"
committee = ["one@example.org", "two@example.org"]

[volatility]
window = 300
minimum_own_fit = 250
minimum_any = 90

[overshoot]
depths = [0.5, 1.0, 2.0]
minimum_triggers = 60
minimum_dates = 40

[challengers]
is_on = false

[markets.AAA]
name = "Alpha"
calendar = "daily"
market_class = "major"
[markets.AAA.perpetual]
notional_usd = 1.0e6
[markets.AAA.perpetual.in_force]
venue = "test venue"
read_on = 2022-01-01
mm_bps = 300
im_bps = 1000
[markets.AAA.lending]
notional_usd = 2.0e6
[markets.AAA.lending.in_force]
venue = "test pool"
read_on = 2022-01-01
lt_bps = 8300
ltv_bps = 8000
bonus_bps = 500

[markets.BBB]
name = "Beta"
calendar = "daily"
market_class = "other"
[markets.BBB.perpetual]
notional_usd = 1.0e6
[markets.BBB.lending]
notional_usd = 1.0e6
"""


def simulated_candles(
    symbol: str, seed: int, days: int = 700, start: str = "2020-07-01", sigma: float = 0.03
) -> pd.DataFrame:
    """Candles of a market with changing volatility and fat tails, from hourly steps."""
    rng = np.random.default_rng(seed)
    level = np.empty(days)
    level[0] = np.log(sigma)
    for t in range(1, days):
        level[t] = 0.03 * np.log(sigma) + 0.97 * level[t - 1] + 0.08 * rng.standard_normal()
    steps = rng.standard_t(4, (days, HOURS)) / np.sqrt(2) * np.exp(level)[:, None] / np.sqrt(HOURS)
    path = np.cumsum(steps.ravel()).reshape(days, HOURS) + np.log(100.0)
    opening = np.concatenate([[np.log(100.0)], path[:-1, -1]])
    whole = np.column_stack([opening, path])
    return pd.DataFrame(
        {
            "date": pd.date_range(start, periods=days, freq="D"),
            "symbol": symbol,
            "source": "simulated",
            "open": np.exp(opening),
            "high": np.exp(whole.max(axis=1)),
            "low": np.exp(whole.min(axis=1)),
            "close": np.exp(path[:, -1]),
            "volume": rng.uniform(0.5e8, 2e8, days),
            "volume_unit": "quote_usd",
        }
    )


def markets() -> pd.DataFrame:
    """Two simulated markets over seven hundred days, to 2022-05-31."""
    return pd.concat([simulated_candles("AAA", 11), simulated_candles("BBB", 12, sigma=0.05)], ignore_index=True)


def write(folder: Path, candles: pd.DataFrame, more: str = "") -> Path:
    """Write candles and a configuration below ``folder``; the configuration's path."""
    folder.mkdir(parents=True, exist_ok=True)
    candles.to_parquet(folder / "candles.parquet", index=False)
    (folder / "small.toml").write_text(CONFIG.format(path=folder / "candles.parquet") + more)
    return folder / "small.toml"
