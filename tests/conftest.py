"""Fixtures that many tests share."""

from pathlib import Path

import pandas as pd
import pytest
from tests_support import make_profile

from benchmarks._small import markets
from dagster_project.settings import Settings


@pytest.fixture(scope="session")
def candles() -> pd.DataFrame:
    """Two simulated markets over seven hundred days, to 2022-05-31."""
    return markets()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    """A small profile reading simulated candles, in a folder of its own."""
    return make_profile(tmp_path, monkeypatch, candles)
