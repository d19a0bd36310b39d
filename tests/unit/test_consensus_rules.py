"""Rules of the consensus: each kind of fault is found and named, guards hold, crashes and real venues stay."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.consensus import Judgement, consensus_prices, judge
from plimsoll.consensus.inject import KINDS, inject

DAYS = 260
VENUES = {"alpha_spot": "alpha", "alpha_perp": "alpha"}


def market(
    symbols: int = 6, sources: tuple[str, ...] = ("alpha", "beta", "gamma"), days: int = DAYS, seed: int = 1
) -> pd.DataFrame:
    """Simulated coins that share a market, on exchanges that differ by a few basis points; opens meet closes."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.015, days)
    parts = []
    for number in range(symbols):
        close = np.log(7.0 * 30**number) - 6 + np.cumsum(common + rng.normal(0, 0.02, days))
        opening = np.concatenate([close[:1], close[:-1]])
        up, down = (np.abs(rng.normal(0, 0.012, days)) for _ in range(2))
        volume = np.exp(rng.normal(10, 0.2, days))
        for source in sources:
            own = rng.normal(0, 3e-4, days)
            c = close + own
            o = np.concatenate([[opening[0]], c[:-1]]) + rng.normal(0, 5e-5, days)
            logs = {
                "open_usd": o,
                "high_usd": np.maximum(o, c) + up + np.abs(rng.normal(0, 2e-4, days)),
                "low_usd": np.minimum(o, c) - down - np.abs(rng.normal(0, 2e-4, days)),
                "close_usd": c,
            }
            frame = pd.DataFrame({name: np.exp(values) for name, values in logs.items()})
            frame.insert(0, "date", pd.date_range("2020-01-01", periods=days).astype("datetime64[us]"))
            parts.append(
                frame.assign(
                    symbol=f"C{number}",
                    source=source,
                    volume=volume * np.exp(rng.normal(0, 0.05, days)),
                    volume_unit="base",
                )
            )
    return pd.concat(parts, ignore_index=True)


CLEAN = market()
DAY = pd.Timestamp("2020-07-01")


def place(frame: pd.DataFrame, symbol: str, source: str, day: pd.Timestamp = DAY) -> int:
    return int(frame.index[(frame["symbol"] == symbol) & (frame["source"] == source) & (frame["date"] == day)][0])


def changed(
    values: dict[str, float], *, sources: tuple[str, ...] = ("alpha",), frame: pd.DataFrame = CLEAN
) -> pd.DataFrame:
    """Multiply fields of C2 on the day by factors."""
    out = frame.copy()
    for source in sources:
        for name, factor in values.items():
            out.loc[place(out, "C2", source), f"{name}_usd"] *= factor
    return out


def kinds(found: Judgement, symbol: str = "C2", source: str = "alpha", day: pd.Timestamp = DAY) -> list[str]:
    rows = found.rejected
    return list(rows.loc[(rows["symbol"] == symbol) & (rows["source"] == source) & (rows["date"] == day), "kind"])


def test_clean_bars_are_all_kept() -> None:
    found = judge(CLEAN)
    assert found.rejected.empty
    assert found.spans.empty


@pytest.mark.parametrize("sources", [("alpha", "beta", "gamma"), ("alpha", "beta")])
@pytest.mark.parametrize("values", [{"low": 0.3}, {"high": 3.0}], ids=["low", "high"])
def test_a_wick_that_no_other_venue_has_is_a_bad_tick(sources: tuple[str, ...], values: dict[str, float]) -> None:
    frame = CLEAN[CLEAN["source"].isin(sources)]
    found = judge(changed(values, frame=frame))
    assert kinds(found) == ["bad_tick"]
    assert len(found.rejected) == 1
    row = found.rejected.iloc[0]
    assert row["known_on"] == DAY
    assert "excess_bp" in row["detail"]
    assert "every other venue" in row["evidence"]


def test_a_wick_that_the_others_have_stays() -> None:
    assert judge(changed({"low": 0.3}, sources=("alpha", "beta", "gamma"))).rejected.empty


def test_products_of_one_venue_confirm_nothing_for_each_other() -> None:
    frame = CLEAN.replace({"source": {"alpha": "alpha_spot", "beta": "alpha_perp"}})
    wicked = changed({"low": 0.3}, sources=("alpha_spot", "alpha_perp"), frame=frame)
    assert judge(wicked).rejected.empty
    found = judge(wicked, venues=VENUES)
    assert [*kinds(found, source="alpha_spot"), *kinds(found, source="alpha_perp")] == ["bad_tick", "bad_tick"]


@pytest.mark.parametrize("alone", [False, True])
def test_a_close_that_reverts_is_a_bad_tick(alone: bool) -> None:
    frame = CLEAN[CLEAN["source"] == "alpha"] if alone else CLEAN
    found = judge(changed({"close": 0.4, "low": 0.38}, frame=frame))
    assert kinds(found) == ["bad_tick"]
    # Nobody else: only the next bar can tell.
    assert found.rejected["known_on"].iloc[0] == (DAY + pd.Timedelta(days=1) if alone else DAY)


def crash(frame: pd.DataFrame, size: float, *, symbols: list[str] | None = None, back: bool = False) -> pd.DataFrame:
    """A fall on the day; prices stay there, or come back on the next day."""
    out = frame.copy()
    mine = out["symbol"].isin(symbols or sorted(out["symbol"].unique()))
    on, after = mine & (out["date"] == DAY), mine & (out["date"] > DAY)
    out.loc[on, ["close_usd", "low_usd"]] *= [size, size * 0.95]
    if back:
        tomorrow = mine & (out["date"] == DAY + pd.Timedelta(days=1))
        out.loc[tomorrow, ["open_usd", "low_usd"]] *= size
    else:
        out.loc[after, ["open_usd", "high_usd", "low_usd", "close_usd"]] *= size
    return out


@pytest.mark.parametrize("sources", [("alpha",), ("alpha", "beta"), ("alpha", "beta", "gamma")])
@pytest.mark.parametrize("back", [False, True])
def test_a_crash_of_the_whole_market_is_kept(sources: tuple[str, ...], back: bool) -> None:
    frame = crash(CLEAN[CLEAN["source"].isin(sources)], 0.5, back=back)
    assert judge(frame).rejected.empty


def test_a_crash_of_one_coin_on_all_venues_is_kept() -> None:
    assert judge(crash(CLEAN, 0.3, symbols=["C2"])).rejected.empty


def test_a_lone_spike_of_one_coin_is_refused_only_without_market_and_volume() -> None:
    """The market's move and the venue's volume are what saves a single source's real crash."""
    alone = CLEAN[CLEAN["source"] == "alpha"]
    spiked = crash(alone, 0.4, symbols=["C2"], back=True)
    assert kinds(judge(spiked)) == ["bad_tick"]
    assert judge(crash(alone, 0.4, back=True)).rejected.empty
    traded = spiked.copy()
    traded.loc[place(traded, "C2", "alpha"), "volume"] *= 6
    assert judge(traded).rejected.empty


BIG = next(
    day
    for day in pd.date_range("2020-05-01", "2020-08-01")
    if abs(
        np.log(
            CLEAN.loc[place(CLEAN, "C2", "alpha", day), "close_usd"]
            / CLEAN.loc[place(CLEAN, "C2", "alpha", day), "open_usd"]
        )
    )
    > 0.05
)


@pytest.mark.parametrize("alone", [False, True])
def test_a_part_of_a_day_is_named(alone: bool) -> None:
    frame = CLEAN[CLEAN["source"] == "alpha"] if alone else CLEAN
    out = frame.copy()
    at = place(out, "C2", "alpha", BIG)
    o, c = out.loc[at, "open_usd"], out.loc[at, "close_usd"]
    out.loc[at, "close_usd"] = o * np.exp(0.3 * np.log(c / o))
    full = judge(out)
    out.loc[at, "volume"] *= 0.3
    found = judge(out)
    assert kinds(found, day=BIG) == ["part_day"]
    assert found.rejected["known_on"].iloc[0] == BIG + pd.Timedelta(days=1)
    if not alone:
        assert kinds(full, day=BIG) == [], "a full day's volume is no part of a day"


def test_the_same_venues_longer_bar_tells_a_part_of_a_day_on_the_day_itself() -> None:
    whole = CLEAN[(CLEAN["symbol"] == "C2") & (CLEAN["source"] == "alpha")]
    frame = pd.concat([whole.assign(source="alpha_spot"), whole.assign(source="alpha_perp")], ignore_index=True)
    at = place(frame, "C2", "alpha_spot")
    frame.loc[at, "close_usd"] *= np.exp(0.2 * np.log(frame.loc[at, "open_usd"] / frame.loc[at, "close_usd"]))
    frame.loc[at, "volume"] *= 0.99
    found = judge(frame, venues=VENUES, as_of=DAY)
    assert kinds(found, source="alpha_spot") == ["part_day"]
    assert len(found.rejected) == 1


def test_products_of_one_series_are_not_judged_by_a_stranger() -> None:
    """Series that differ every day are no twins: the strict limit is not theirs."""
    frame = CLEAN.replace({"source": {"alpha": "alpha_spot", "beta": "alpha_perp"}})
    assert judge(frame, venues=VENUES).rejected.empty


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_faults_are_found_under_their_name(kind: str) -> None:
    plain = CLEAN.rename(columns={f"{name}_usd": name for name in ("open", "high", "low", "close")})
    put = inject(plain, kind, 8, np.random.default_rng(5))
    assert len(put.truth) >= 5
    from dagster_project.feeds_audit import replay
    from plimsoll.consensus.audit import audit

    done = replay(put.candles.assign(note=""), {})
    found = audit(done.judgement, done.bars, put.truth)
    score = next(one for one in found.scores if one.kind == kind)
    assert score.recall >= 0.85, found.missed
    assert found.false_rejections == 0, done.judgement.rejected


def test_every_source_that_changes_its_scale_together_is_left_alone() -> None:
    out = CLEAN.copy()
    late = (out["symbol"] == "C2") & (out["date"] >= DAY)
    out.loc[late, ["open_usd", "high_usd", "low_usd", "close_usd"]] /= 1000
    assert set(judge(out).rejected["kind"]) <= {"scale_change"}
    once = out[out["source"] == "alpha"]
    found = judge(once)
    assert set(found.rejected["kind"]) == {"scale_change"}
    assert len(found.rejected) == (CLEAN["date"].max() - DAY).days + 1, "until somebody says it is meant"


def test_missing_days_flat_bars_and_ends_are_spans_and_reject_nothing() -> None:
    out = CLEAN.copy()
    mine = (out["symbol"] == "C2") & (out["source"] == "alpha")
    at = place(out, "C2", "beta")
    out.loc[at, ["high_usd", "low_usd", "close_usd"]] = out.loc[at, "open_usd"]
    out.loc[at, "volume"] = 0.0
    gone = mine & (out["date"] > DAY) & (out["date"] <= DAY + pd.Timedelta(days=4))
    ended = (out["symbol"] == "C4") & (out["source"] == "gamma") & (out["date"] > DAY)
    found = judge(out[~gone & ~ended])
    told = {(r.symbol, r.source, r.kind, str(r.start)[:10], str(r.end)[:10]) for r in found.spans.itertuples()}
    assert told == {
        ("C2", "alpha", "missing_days", "2020-07-02", "2020-07-05"),
        ("C2", "beta", "flat_bar", "2020-07-01", "2020-07-01"),
        ("C2", "beta", "zero_volume", "2020-07-01", "2020-07-01"),
        ("C4", "gamma", "delisted", "2020-07-01", "2020-07-01"),
    }
    assert set(found.rejected["symbol"]) <= {"C2"}


def test_weekends_of_a_market_that_never_trades_on_them_are_not_missing() -> None:
    week = CLEAN[CLEAN["date"].dt.day_of_week < 5]
    assert judge(week).spans.empty
    assert len(judge(week[week["date"] != DAY]).spans) == 18


def test_a_source_whose_days_end_earlier_is_found_from_closes_and_extremes() -> None:
    rng = np.random.default_rng(4)
    days, hours = 700, 24
    path = np.cumsum(rng.normal(0, 0.008, (days + 1) * hours))
    parts = []
    for source, early in (("alpha", 0), ("beta", 0), ("gamma", 0), ("delta", 3)):
        at = np.arange(days)[:, None] * hours + np.arange(hours + 1) - early + hours - 1
        part = np.exp(path[at.clip(0, len(path) - 1)]) * np.exp(rng.normal(0, 1e-4, (days, 1)))
        parts.append(
            pd.DataFrame(
                {
                    "date": pd.date_range("2020-01-01", periods=days).astype("datetime64[us]"),
                    "symbol": "X",
                    "source": source,
                    "open_usd": part[:, 0],
                    "high_usd": part.max(axis=1),
                    "low_usd": part.min(axis=1),
                    "close_usd": part[:, -1],
                    "volume": np.nan,
                    "volume_unit": "none",
                }
            )
        )
    spans = judge(pd.concat(parts)).spans
    told = spans[spans["kind"] == "day_boundary"]
    assert list(told["source"]) == ["delta"]
    assert told["symbol"].iloc[0] == "*"
    assert "before" in told["detail"].iloc[0]
    assert 1.5 <= float(told["detail"].iloc[0].split("about ")[1].split(" ")[0]) <= 4.5


FAULTY = CLEAN.copy()
for _kind, _symbol in (("low", "C0"), ("close", "C1"), ("high", "C3")):
    FAULTY.loc[place(FAULTY, _symbol, "alpha"), f"{_kind}_usd"] *= {"low": 0.3, "close": 0.5, "high": 3.0}[_kind]
FAULTY.loc[place(FAULTY, "C1", "alpha"), "low_usd"] *= 0.4
FAULTY.loc[
    (FAULTY["symbol"] == "C4")
    & (FAULTY["source"] == "beta")
    & FAULTY["date"].between(DAY, DAY + pd.Timedelta(days=20)),
    ["open_usd", "high_usd", "low_usd", "close_usd"],
] *= 10
_segment = (
    (FAULTY["symbol"] == "C5")
    & (FAULTY["source"] == "gamma")
    & FAULTY["date"].between(DAY, DAY + pd.Timedelta(days=15))
)
_fields = ["open_usd", "high_usd", "low_usd", "close_usd", "volume"]
FAULTY.loc[_segment, _fields] = FAULTY.loc[np.flatnonzero(_segment) - 1, _fields].to_numpy()
LATER = judge(FAULTY)


@settings(max_examples=12, deadline=None)
@given(st.integers(min_value=-3, max_value=40))
def test_a_verdict_never_changes_once_it_is_known(offset: int) -> None:
    """What was known on a day is the same whether or not later days are there."""
    as_of = DAY + pd.Timedelta(days=offset)
    then = judge(FAULTY, as_of=as_of)
    cut = LATER.findings[LATER.findings["known_on"] <= as_of].reset_index(drop=True)
    pd.testing.assert_frame_equal(then.findings, cut)
    assert (then.findings["known_on"] <= as_of).all()


def test_the_faults_of_that_test_are_of_many_kinds() -> None:
    assert {"bad_tick", "scale_change", "day_shift"} <= set(LATER.rejected["kind"])


def test_prices_of_a_day_use_nothing_later() -> None:
    as_of = DAY + pd.Timedelta(days=10)
    then = consensus_prices(FAULTY, judge(FAULTY, as_of=as_of), as_of=as_of)
    now = consensus_prices(FAULTY[FAULTY["date"] <= as_of], judge(FAULTY[FAULTY["date"] <= as_of]))
    pd.testing.assert_frame_equal(then, now)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="volume"), "volume"),
        (lambda f: pd.concat([f, f.iloc[[3]]]), "C0 of alpha stands twice on 2020-01-04"),
        (lambda f: f.assign(close_usd=f["close_usd"].where(f.index != 4, 0.0)), "row 5: close_usd 0"),
        (lambda f: f.assign(date=f["date"].where(f.index != 6)), "row 7 has no day"),
        (lambda f: f.assign(symbol=f["symbol"].where(f.index != 2)), "row 3 has no symbol"),
    ],
)
def test_a_table_that_is_no_table_of_candles_is_refused_with_its_row(change, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        judge(change(CLEAN))


PRICES = ["open_usd", "high_usd", "low_usd", "close_usd"]
ALONE = CLEAN[CLEAN["source"] == "alpha"]


def test_a_lone_wick_stays_where_the_market_or_the_volume_supports_it() -> None:
    wicked = changed({"low": 0.3}, frame=ALONE)
    assert kinds(judge(wicked)) == ["bad_tick"]
    fallen = ALONE.copy()
    fallen.loc[fallen["date"] == DAY, "low_usd"] *= 0.3
    assert judge(fallen).rejected.empty
    traded = wicked.copy()
    traded.loc[place(traded, "C2", "alpha"), "volume"] *= 5
    assert judge(traded).rejected.empty


@pytest.mark.parametrize(("scaled", "off"), [("beta", "gamma"), ("gamma", "beta")])
def test_the_innocent_of_three_is_not_blamed_for_two_faults(scaled: str, off: str) -> None:
    frame = CLEAN.copy()
    late = (frame["symbol"] == "C2") & (frame["date"] >= DAY)
    frame.loc[late & (frame["source"] == scaled), PRICES] *= 10
    frame.loc[late & (frame["source"] == off), PRICES] *= 1.03
    rejected = judge(frame).rejected
    assert "alpha" not in set(rejected["source"])


def test_a_bad_close_of_ten_times_does_not_change_the_scale_of_what_follows() -> None:
    found = judge(changed({"close": 10.0, "high": 11.0}, frame=ALONE))
    assert len(found.rejected) == 1
    assert kinds(found) == ["bad_tick"]


def test_a_burst_of_trading_with_its_range_is_no_exchanged_volume() -> None:
    frame = ALONE.copy()
    at = place(frame, "C3", "alpha")
    frame.loc[at, "volume"] *= frame.loc[at, "close_usd"]
    assert abs(np.log(frame.loc[at, "close_usd"])) > 4
    assert kinds(judge(frame), symbol="C3") == ["swapped_columns"]
    frame.loc[at, "high_usd"] *= 1.15
    frame.loc[at, "low_usd"] /= 1.15
    assert kinds(judge(frame), symbol="C3") == []
