"""Many sources, one price: what venues agree on is stored, a wrong bar is named, thin support never loosens."""

from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tests_support import dump, make_profile

from assets import prices as asset_prices
from assets._budget import oracle_errors, product_specs
from assets._run import Run
from assets.recommendations import state_of
from dagster_project import settings as settings_module
from dagster_project.changes import STAGES
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings

DAY = "2022-05-31"
BEFORE = "2022-05-30"
WICK, CRASH = "2022-05-10", "2022-05-12"
FIELDS = ["open", "high", "low", "close"]
ALSO = 'name = "simulated"\nalso = ["second", "third", "absent"]\n'


def beside(candles: pd.DataFrame, source: str, seed: int) -> pd.DataFrame:
    """The same days as another venue has them, a few basis points away."""
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.normal(0, 2e-4, len(candles)))
    out = candles.assign(source=source, **{name: candles[name] * noise for name in FIELDS})
    return out.assign(high=out[["high", "open", "close"]].max(axis=1), low=out[["low", "open", "close"]].min(axis=1))


def three_venues(candles: pd.DataFrame) -> pd.DataFrame:
    """One market at three venues, the other at two; a wick at one venue, a crash at all."""
    own = candles[candles["date"] >= "2021-12-01"].reset_index(drop=True)
    at = (own["symbol"] == "AAA") & (own["date"] == CRASH)
    own.loc[at, "low"] *= 0.75
    second, third = beside(own, "second", 1), beside(own[own["symbol"] == "AAA"], "third", 2)
    wick = (own["symbol"] == "AAA") & (own["date"] == WICK)
    own.loc[wick, "low"] *= 0.3
    return pd.concat([own, second, third], ignore_index=True)


def with_witnesses(folder: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, more: str = ALSO) -> Settings:
    """A profile that reads them all."""
    make_profile(folder, monkeypatch, candles)
    path = folder / "small.toml"
    path.write_text(path.read_text().replace('name = "simulated"\n', more).replace("is_demo = true", "is_demo = false"))
    return settings_module.load(path)


def market_data(settings: Settings, day: str = DAY) -> dg.ExecuteInProcessResult:
    """Run the stages up to prices."""
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance, partition_key=day, asset_selection=[dg.AssetKey("candle"), dg.AssetKey("price")]
        )


@pytest.fixture(scope="module")
def whole(candles: pd.DataFrame) -> pd.DataFrame:
    return three_venues(candles)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, whole: pd.DataFrame) -> tuple[Path, Settings]:
    """A store that has seen one night of them."""
    folder = tmp_path_factory.mktemp("venues")
    with pytest.MonkeyPatch.context() as patch:
        chosen = with_witnesses(folder, patch, whole)
        assert market_data(chosen).success
    return folder, chosen


@pytest.fixture
def agreed(stored: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    folder, chosen = stored
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-07-01T00:30:00")
    return chosen


def test_a_price_is_what_the_venues_agree_on(agreed: Settings, whole: pd.DataFrame) -> None:
    price = dump(agreed)["price"].query("symbol == 'AAA'").set_index("date")
    closes = whole[whole["symbol"] == "AAA"].pivot_table(index="date", columns="source", values="close")
    agreed_on = price.index != pd.Timestamp(WICK)
    np.testing.assert_allclose(price["close_usd"][agreed_on], closes.median(axis=1)[agreed_on], rtol=1e-12)
    assert set(price["source"]) == {"consensus"}
    assert set(price["venue_count"][agreed_on]) == {3}
    assert (price["dispersion_bp"] < 10).all()
    own = whole[(whole["symbol"] == "AAA") & (whole["source"] == "simulated")].set_index("date")
    np.testing.assert_allclose(price["volume_usd"], own["volume"], rtol=1e-15)
    two = dump(agreed)["price"].query("symbol == 'BBB'")
    assert set(two["venue_count"]) == {2}


def test_a_wick_of_one_venue_is_named_and_a_crash_of_all_is_kept(agreed: Settings, whole: pd.DataFrame) -> None:
    found = dump(agreed)
    refused = found["bar_verdict"]
    assert list(zip(refused["date"].astype(str), refused["source"], refused["kind"], strict=True)) == [
        (WICK, "simulated", "bad_tick")
    ]
    price = found["price"].query("symbol == 'AAA'").set_index("date")
    lows = whole[whole["symbol"] == "AAA"].pivot_table(index="date", columns="source", values="low")
    assert price.loc[WICK, "low_usd"] == pytest.approx(lows.loc[WICK, ["second", "third"]].min(), rel=1e-12)
    assert price.loc[WICK, "venue_count"] == 2
    assert price.loc[CRASH, "low_usd"] == pytest.approx(lows.loc[CRASH].median(), rel=1e-12)
    assert price.loc[CRASH, "venue_low_usd"] == pytest.approx(lows.loc[CRASH].min(), rel=1e-12)


def test_an_operator_sees_feeds_and_refused_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pd.DataFrame
) -> None:
    result = market_data(with_witnesses(tmp_path, monkeypatch, whole))
    (made,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("price")]
    shown = {name: value.value for name, value in made.materialization.metadata.items()}
    assert shown["rejected_bars"] == 1
    assert f"| {WICK} | AAA | simulated | bad_tick |" in str(shown["newest_rejected_bars"])
    assert "| AAA | third | 100 | 90 of 90 | 0 |" in str(shown["feeds"])


def test_the_same_night_again_writes_nothing(agreed: Settings) -> None:
    before = dump(agreed)
    assert market_data(agreed).success
    after = dump(agreed)
    for name in ("price", "bar_verdict", "feed_span", "feed_score", "raw_file", "candle"):
        pd.testing.assert_frame_equal(before[name], after[name], obj=name)
    with warehouse_of(agreed).session() as session:
        assert session.last_commit() == 2


def test_bytes_of_a_file_with_three_sources_lie_there_once(agreed: Settings) -> None:
    raw = dump(agreed)["raw_file"]
    assert sorted(raw["source"]) == ["second", "simulated", "third"]
    assert len(set(raw["raw_path"])) == 1
    assert (settings_module.profile_folder(agreed) / raw["raw_path"].iloc[0]).is_file()


def test_an_old_day_knows_no_later_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pd.DataFrame
) -> None:
    """A lone close that the next day takes back is refused from that day on, and not in a rerun of the day before."""
    alone = whole[(whole["source"] == "simulated")].reset_index(drop=True)
    bad = (alone["symbol"] == "AAA") & (alone["date"] == BEFORE)
    alone.loc[bad, "close"] *= 1.6
    alone.loc[bad, "high"] = alone.loc[bad, "close"]
    chosen = with_witnesses(tmp_path, monkeypatch, alone)
    for day in (BEFORE, DAY):
        monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, hours=1)}")
        assert market_data(chosen, day).success

    def bar() -> pd.DataFrame:
        rows = dump(chosen)["price"]
        return rows[(rows["symbol"] == "AAA") & (rows["date"] == BEFORE)]

    assert bar().empty, "the next day has come: it is refused"
    assert market_data(chosen, BEFORE).success
    assert len(bar()) == 1, "on its own day nobody knew"
    with warehouse_of(chosen).session() as session:
        run = Run(chosen, (date.fromisoformat(BEFORE),), "test")
        corrected = asset_prices.agreed_of(session, chosen, run, as_known_now=True)[0]
    assert BEFORE not in set(corrected.loc[corrected["symbol"] == "AAA", "date"].astype(str))


def test_a_witness_that_falls_silent_is_quarantined_and_freezes_what_it_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pd.DataFrame
) -> None:
    late = (whole["source"] == "second") & (whole["date"] > "2022-05-26")
    chosen = with_witnesses(tmp_path, monkeypatch, whole[~late])
    result = market_data(chosen)
    failed = {one.check_name for one in result.get_asset_check_evaluations() if not one.passed}
    assert failed == {"feed_stale", "feed_quarantined"}
    with warehouse_of(chosen).session() as session:
        run = Run(chosen, (date.fromisoformat(DAY),), "test")
        feeds = session.query("feed_scores", last=run.end, **run.identity)
        bars = session.query("prices", last=run.end)
    out = feeds[feeds["is_quarantined"]]
    assert sorted(zip(out["symbol"], out["source"], strict=True)) == [("AAA", "second"), ("BBB", "second")]
    for symbol, words in (("AAA", "2 venue(s) beside"), ("BBB", "single source")):
        state = state_of(chosen, bars[bars["symbol"] == symbol], feeds[feeds["symbol"] == symbol])
        assert not state.may_loosen
        assert words in "; ".join(state.reasons)


def test_three_clean_venues_may_loosen_and_two_pay_twice_for_the_oracle(agreed: Settings) -> None:
    with warehouse_of(agreed).session() as session:
        run = Run(agreed, (date.fromisoformat(DAY),), "test")
        feeds = session.query("feed_scores", last=run.end, **run.identity)
        bars = session.query("prices", last=run.end)
    errors = {}
    for symbol in ("AAA", "BBB"):
        mine = bars[bars["symbol"] == symbol].reset_index(drop=True)
        assert state_of(agreed, mine, feeds[feeds["symbol"] == symbol]).may_loosen
        (product,) = [p for p in product_specs(agreed, symbol) if p.product == "lending"]
        errors[symbol] = oracle_errors(agreed, product, "long", mine, mine["date"])[-1], product.oracle_deviation
    error, deviation = errors["AAA"]
    assert deviation < error < deviation + 10e-4, "three venues add what they differ by"
    error, deviation = errors["BBB"]
    assert -np.log1p(-error) > 2 * -np.log1p(-deviation), "two are charged twice"


@pytest.mark.slow
def test_a_loosening_waits_for_a_second_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    every = pd.concat([candles, beside(candles, "second", 1), beside(candles, "third", 2)], ignore_index=True)
    chosen = with_witnesses(tmp_path, monkeypatch, every)
    path = tmp_path / "small.toml"

    def decided(settings: Settings) -> pd.Series:
        ending = run_nightly(
            settings, date.fromisoformat(DAY), select=(*STAGES, "fit_reference", "recommendation"), is_trial=True
        )
        assert ending.error is None, ending.error
        rows = dump(settings)["recommendation"]
        mine = rows[(rows["config_hash"] == settings.config_hash) & (rows["symbol"] == "AAA")]
        return mine[(mine["parameter"] == "lt") & (mine["side"] == "long")].iloc[-1]

    target = int(decided(chosen)["target"])
    path.write_text(
        path.read_text()
        .replace("lt_bps = 8300", f"lt_bps = {target - 200}")
        .replace("ltv_bps = 8000", f"ltv_bps = {target - 1000}")
    )
    looser = decided(settings_module.load(path))
    assert (looser["status"], looser["proposed"]) == ("loosen", looser["target"])
    path.write_text(path.read_text().replace(ALSO, 'name = "simulated"\n'))
    alone = decided(settings_module.load(path))
    assert alone["status"] == "hold" or alone["target"] < looser["target"], "the oracle costs more, and nobody confirms"
    assert alone["status"] != "loosen"
    if alone["status"] == "hold":
        assert "single source" in alone["reason"]
