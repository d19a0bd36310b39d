"""Order books through the line: from dropped files to the slippage of a day, and nothing where there are none."""

from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from faults.test_order_books import TABLE, snapshot
from tests_support import dump, make_profile

from benchmarks._small import write
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.settings import Settings
from plimsoll import slippage

DAY = "2022-05-31"


def taken(settings: Settings, day: str = DAY) -> dg.ExecuteInProcessResult:
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key=day, asset_selection=[dg.AssetKey("order_book")], raise_on_error=True
        )
    assert result.success
    return result


def test_a_dropped_snapshot_speaks_for_its_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    make_profile(tmp_path, monkeypatch, candles)
    settings = settings_module.load(write(tmp_path, candles, TABLE.format(path=tmp_path / "books")))
    assert settings.order_books is not None
    (tmp_path / "books").mkdir()
    hours = ("2022-05-27T12:00:00Z", "2022-05-30T09:00:00Z", "2022-05-31T09:00:00Z", "2022-05-31T23:59:59Z")
    for n, ts in enumerate(hours):
        snapshot(ts=ts, mid=100.0 + n).to_csv(tmp_path / "books" / f"{n}.csv", index=False)
    assert {one.passed for one in taken(settings).get_asset_check_evaluations()} == {True}
    before = dump(settings)
    taken(settings)
    after = dump(settings)
    for name, rows in before.items():
        pd.testing.assert_frame_equal(rows, after[name], obj=name)
    with warehouse_of(settings).session() as session:
        rows = session.query("order_books", first=date(2022, 5, 28), last=date(2022, 5, 31))
    books = slippage.books_of(rows)
    assert [f"{one.at:%m-%d %H}" for one in books] == ["05-30 09", "05-31 23"], "the newest of each day"
    ages = {"max_age_days": settings.order_books.max_age_days, "haircut": settings.order_books.depth_haircut}
    said = slippage.slippage_of(books, "AAA", "long", [100.0, 1000.0, 1e9], date(2022, 5, 31), **ages)
    assert list(said.source[:2]) == ["one 2022-05-31 23:59:59"] * 2
    assert said.value[0] == pytest.approx(0.001) and said.value[1] > said.value[0] and said.is_exhausted[2]
    earlier = slippage.slippage_of(books, "AAA", "long", 100.0, date(2022, 5, 30), **ages)
    assert str(earlier.source) == "one 2022-05-30 09:00:00"


def test_without_a_configuration_nothing_happens(profile: Settings) -> None:
    assert profile.order_books is None
    taken(profile)
    tables = dump(profile)
    assert tables["order_book"].empty and tables["order_book_quarantine"].empty and tables["commit_ledger"].empty
