"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from faults_support import Commands, Night
from tests_support import dump, files_of, make_profile

from benchmarks._small import markets
from dagster_project.settings import Settings

DAY = "2022-03-13"
"""The clocks of New York go forward on it, at 07:00 UTC."""


@pytest.fixture(scope="session")
def candles() -> pd.DataFrame:
    """Two simulated markets over seven hundred days, to 2022-05-31."""
    return markets()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    """A small profile reading simulated candles, in a folder of its own."""
    return make_profile(tmp_path, monkeypatch, candles)


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
