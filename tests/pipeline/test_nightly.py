"""The nightly line as a whole: reruns, revisions, no look-ahead, incremental equals whole."""

from datetime import date
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile

from benchmarks._small import simulated_candles
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.settings import Settings

DAY = date(2022, 5, 31)
STAGES = [
    "candle",
    "price",
    "volatility_fit",
    "volatility_forecast",
    "fit_reference",
    "overshoot_quantile",
    "threshold",
]
STAGES += ["breach"]
DERIVED = ("volatility_fit", "volatility_forecast", "overshoot_event", "overshoot_quantile", "threshold", "breach")


def run(
    settings: Settings,
    day: date,
    *,
    last: date | None = None,
    config: dict[str, Any] | None = None,
    select: list[str] | None = None,
) -> dg.ExecuteInProcessResult:
    defs = build_defs(settings)
    job = defs.resolve_job_def("nightly")
    tags = {}
    if last is not None:
        tags = {
            "dagster/asset_partition_range_start": day.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            partition_key=None if last else day.isoformat(),
            tags=tags,
            run_config=config or {},
            asset_selection=[dg.AssetKey(name) for name in select] if select else None,
            raise_on_error=True,
        )


@pytest.mark.slow
def test_a_second_run_writes_nothing_and_mails_nothing(profile: Settings) -> None:
    assert run(profile, DAY).success
    before, files = dump(profile), files_of(profile)
    assert len([name for name in files if name.endswith(".eml")]) == 2
    assert before["threshold"]["status"].eq("ok").any()
    assert run(profile, DAY).success
    after = dump(profile)
    for table, rows in before.items():
        pd.testing.assert_frame_equal(rows, after[table], obj=table)
    assert files_of(profile) == files


@pytest.mark.slow
def test_night_after_night_equals_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    whole = make_profile(tmp_path / "whole", monkeypatch, candles)
    run(whole, DAY, select=STAGES)
    expected = dump(whole)
    nightly = make_profile(tmp_path / "nightly", monkeypatch, candles)
    for back in (9, 2, 1, 0):
        run(nightly, DAY - pd.Timedelta(days=back).to_pytimedelta(), select=STAGES)
    found = dump(nightly)
    for table in DERIVED:
        drop = ["vintage"] if "vintage" in expected[table] else []
        pd.testing.assert_frame_equal(expected[table].drop(columns=drop), found[table].drop(columns=drop), obj=table)


def joined(candles: pd.DataFrame, wild: pd.DataFrame, cut: pd.Timestamp) -> pd.DataFrame:
    """Scale a market's prices so that it opens at ``cut`` where the same symbol closed before it."""
    last = candles.loc[(candles["symbol"] == wild["symbol"].iloc[0]) & (candles["date"] < cut), "close"].iloc[-1]
    factor = last / wild.loc[wild["date"] == cut, "open"].iloc[0]
    prices = ["open", "high", "low", "close"]
    return wild.assign(**{name: wild[name] * factor for name in prices})


@pytest.mark.slow
def test_no_stored_row_looks_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> None:
    """All data from a day on are replaced by an independent market of three times the volatility, gaps included."""
    cut = pd.Timestamp("2022-03-15")
    ours = make_profile(tmp_path / "ours", monkeypatch, candles)
    run(ours, DAY, select=STAGES)
    expected = dump(ours)
    wild = pd.concat(
        [
            joined(candles, simulated_candles("AAA", 71, sigma=0.09), cut),
            joined(candles, simulated_candles("BBB", 72, sigma=0.15), cut),
        ],
        ignore_index=True,
    )
    wild = wild[(wild["date"] >= cut) & ~wild["date"].isin(pd.date_range("2022-04-02", periods=3))]
    changed = pd.concat([candles[candles["date"] < cut], wild], ignore_index=True)
    theirs = make_profile(tmp_path / "theirs", monkeypatch, changed)
    run(theirs, DAY, select=STAGES)
    found = dump(theirs)
    for table in DERIVED:
        column = "target_date" if "target_date" in expected[table] else "fit_end"
        by = "as_of" if "as_of" in expected[table] else column
        early, other = (f[table][f[table][by] < cut].reset_index(drop=True) for f in (expected, found))
        assert len(early) > 0, table
        pd.testing.assert_frame_equal(early, other, check_exact=True, obj=table)
    late = expected["volatility_forecast"]["as_of"] >= cut
    assert late.any()


@pytest.mark.slow
def test_a_revised_candle_adds_revisions_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    profile = make_profile(tmp_path, monkeypatch, candles)
    run(profile, DAY)
    before = dump(profile)["volatility_forecast"]
    day = pd.Timestamp("2022-05-20")
    revised = candles.copy()
    at = (revised["date"] == day) & (revised["symbol"] == "AAA")
    revised.loc[at, "close"] *= 1.001
    revised.loc[at, "high"] = np.maximum(revised.loc[at, "high"], revised.loc[at, "close"])
    profile = make_profile(tmp_path, monkeypatch, revised)
    run(profile, DAY)
    after = dump(profile)["volatility_forecast"]
    first = after[after["revision"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, before)
    second = after[after["revision"] == 2]
    assert set(second["symbol"]) == {"AAA"}
    assert second["as_of"].min() == day
    candle = dump(profile)["candle"]
    assert sorted(candle.loc[(candle["date"] == day) & (candle["symbol"] == "AAA"), "revision"]) == [1, 2]
    with warehouse_of(profile).session() as session:
        reports = session.query("reports", as_of=DAY)
        mails = session.query("outbox")
    assert list(reports["revision"]) == [1, 2]
    assert set(mails["revision"]) == {1}, "a correction is mailed only when asked"
    run(profile, DAY, config={"ops": {"delivery": {"config": {"send_corrections": True}}}})
    run(profile, DAY, config={"ops": {"delivery": {"config": {"send_corrections": True}}}})
    with warehouse_of(profile).session() as session:
        mails = session.query("outbox")
    assert sorted(mails["revision"]) == [1, 1, 2, 2], "a correction is mailed once"
    folder = settings_module.profile_folder(profile)
    for recipient, mine in mails.groupby("recipient"):
        first, second = mine.sort_values("revision").to_dict("records")
        sent = message_from_bytes((folder / second["eml_path"]).read_bytes(), policy=policy.default)
        assert sent["To"] == recipient
        assert sent["References"] == first["message_id"]
        assert sent["Subject"] == second["subject"]
        assert "CORRECTION 2" in sent["Subject"]


@pytest.mark.slow
def test_a_range_from_the_ui_is_one_run(profile: Settings) -> None:
    first = date(2022, 5, 29)
    assert run(profile, first, last=DAY).success
    folder = settings_module.profile_folder(profile) / "reports"
    assert sorted(path.name for path in folder.iterdir()) == ["2022-05-29", "2022-05-30", "2022-05-31"]


def test_every_asset_is_described_and_backfills_in_one_run(profile: Settings) -> None:
    defs = build_defs(profile)
    for spec in defs.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.group_name != "default", spec.key
        assert spec.code_version, spec.key
        assert spec.kinds, spec.key
    for made in defs.resolve_asset_graph().assets_defs:
        if made.keys and made.is_executable and made.partitions_def is not None:
            assert made.backfill_policy == dg.BackfillPolicy.single_run(), made.keys
