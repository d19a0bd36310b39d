"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pandas as pd
import pytest
from faults.exchange_server import Exchange, exchange
from faults_support import Commands, Night
from tests_support import dump, files_of, make_profile

from benchmarks._small import simulated_candles

DAY = "2022-03-13"
"""The clocks of New York go forward on it, at 07:00 UTC."""


@pytest.fixture(scope="session")
def plimsoll(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """The command line."""
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame, plimsoll: Commands) -> Night:
    """An undisturbed night."""
    folder = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        settings = make_profile(folder, patch, candles)
        told = plimsoll("report", "--config", str(folder / "small.toml"), "--as-of", DAY)
        assert told.code == 0, told.err
        return Night(DAY, folder, dump(settings), files_of(settings))


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
