"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pandas as pd
import pytest
from faults.exchange_server import Exchange, exchange

from benchmarks._small import simulated_candles


@pytest.fixture(scope="session")
def hundred() -> pd.DataFrame:
    """Two markets over a hundred days, to 2020-10-08."""
    return pd.concat([simulated_candles("AAA", 1, days=100), simulated_candles("BBB", 2, days=100)], ignore_index=True)


@pytest.fixture
def there(hundred: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """An exchange that has them, shortly after the last day's end."""
    monkeypatch.setenv("PLIMSOLL_NOW", "2020-10-09T00:40:00")
    with exchange() as made:
        made.put(hundred)
        yield made
