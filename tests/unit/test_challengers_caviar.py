"""CAViaR: recursions and objective by hand, the search against a grid, the walk against one fit, no look-ahead.

With PLIMSOLL_ORACLES naming a folder that holds dataCAViaR.csv (returns of GM, IBM and the S&P 500 in percent, one
column each) the estimates of Engle and Manganelli 2004 are reproduced too.
"""

import os
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.challengers import caviar, classical
from plimsoll.challengers import caviar_kernels as kernels
from plimsoll.challengers.caviar import CaviarFit, fit_caviar, quantile_path
from tests.unit.test_challengers_classical import bytes_of, questions, raw_panel, same_rows

FORMS = tuple(caviar.FORMS)
Y = np.asarray([1.0, -2.0, 0.5, -4.0])
BETAS = {"sav": (0.1, 0.8, 0.3), "as": (0.1, 0.8, 0.2, 0.4), "ig": (0.5, 0.7, 0.6), "adaptive": (0.5,)}


def _padded(form: str) -> np.ndarray:
    return np.asarray([*BETAS[form], 0.0, 0.0, 0.0][:4], dtype=np.float64)


def _by_hand(form: str, v: float, y: float, p: float) -> float:
    b = BETAS[form]
    if form == "sav":
        return b[0] + b[1] * v + b[2] * abs(y)
    if form == "as":
        return b[0] + b[1] * v + b[2] * max(y, 0) + b[3] * max(-y, 0)
    if form == "ig":
        return sqrt(b[0] + b[1] * v**2 + b[2] * y**2)
    return v + b[0] * (1 / (1 + exp(10 * (y + v))) - p)


@pytest.mark.parametrize("form", FORMS)
def test_recursion_by_hand(form: str) -> None:
    out = np.empty(5)
    kernels.path(caviar.FORMS[form], _padded(form), Y, np.maximum(Y, 0), 0.1, 1.5, out)
    v = [1.5]
    for y in Y:
        v.append(_by_hand(form, v[-1], y, 0.1))
    np.testing.assert_allclose(out, v, rtol=1e-14)


def test_objective_on_a_series_written_out() -> None:
    # SAV from 1.5: v = 1.5, 1.6, 1.98, 1.834. Gaps y + v = 2.5, -0.4, 2.48, -2.166: two hits.
    # 0.1 (2.5 + 2.48) + 0.9 (0.4 + 2.166) = 0.498 + 2.3094.
    value = kernels.objective(kernels.SAV, _padded("sav"), Y, np.maximum(Y, 0), 0.1, 1.5)
    assert value == pytest.approx(2.8074, abs=1e-12)


def test_asymmetric_slopes_are_those_of_gains_and_losses() -> None:
    gain, loss = np.empty(2), np.empty(2)
    kernels.path(kernels.AS, _padded("as"), np.asarray([3.0]), np.asarray([3.0]), 0.1, 1.0, gain)
    kernels.path(kernels.AS, _padded("as"), np.asarray([-3.0]), np.asarray([0.0]), 0.1, 1.0, loss)
    assert gain[1] == pytest.approx(0.1 + 0.8 + 0.6)
    assert loss[1] == pytest.approx(0.1 + 0.8 + 1.2)


@pytest.mark.parametrize(
    ("form", "b"),
    [
        ("sav", (0.1, 1.0, 0.1, 0)),
        ("sav", (0.1, -0.1, 0.1, 0)),
        ("sav", (0.1, 0.9, -0.1, 0)),
        ("as", (0.1, 0.9, 0.1, -0.1)),
        ("ig", (-9.0, 0.1, 0.1, 0)),
        ("adaptive", (-0.1, 0, 0, 0)),
    ],
)
def test_objective_is_infinite_off_the_domain(form: str, b: tuple[float, ...]) -> None:
    code, good = caviar.FORMS[form], np.maximum(Y, 0)
    assert kernels.objective(code, np.asarray(b), Y, good, 0.1, 1.5) == np.inf
    assert np.isfinite(kernels.objective(code, _padded(form), Y, good, 0.1, 1.5))


def test_adaptive_step_survives_the_range_of_the_exponential() -> None:
    out = np.empty(3)
    kernels.path(kernels.ADAPTIVE, _padded("adaptive"), np.asarray([500.0, -500.0]), np.zeros(2), 0.1, 1.0, out)
    np.testing.assert_allclose(out, [1.0, 1.0 - 0.05, 0.95 + 0.5 * 0.9], rtol=1e-14)


def test_first_quantile_is_an_order_statistic() -> None:
    y = np.random.default_rng(1).permutation(np.arange(-300.0, 0.0))
    assert caviar.first_quantile(y, 0.01) == 298.0
    assert caviar.first_quantile(y, 0.05) == 286.0
    assert caviar.first_quantile(y, 0.005) == 299.0, "1.5 is rounded up"
    assert caviar.first_quantile(np.concatenate([y, np.full(50, -999.0)]), 0.01) == 298.0


def _returns(n: int = 1000, seed: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sigma, out = 1.0, np.empty(n)
    for t in range(n):
        out[t] = sigma * rng.standard_t(5) / sqrt(5 / 3)
        sigma = sqrt(0.05 + 0.12 * out[t] ** 2 + 0.84 * sigma**2)
    return out


@pytest.mark.parametrize("form", FORMS)
def test_search_is_as_good_as_one_ten_times_larger(form: str) -> None:
    y = _returns()
    small = fit_caviar(y, 0.05, form, 3)
    large = fit_caviar(y, 0.05, form, 4, starts=4000, polished=30)
    assert small.refusal == ""
    assert small.objective == pytest.approx(large.objective, rel=1e-4)
    v = quantile_path(small, y)[:-1]
    assert small.objective == pytest.approx(np.sum((0.05 - (y < -v)) * (y + v)), rel=1e-12)
    assert small.exceedances == int(np.sum(y < -v))
    # Without a level of its own the adaptive form meets the rate less closely.
    assert small.exceedances / len(y) == pytest.approx(0.05, abs=0.01 if form == "adaptive" else 0.004)


def test_search_finds_the_least_value_of_a_grid() -> None:
    y = _returns(600)
    fit = fit_caviar(y, 0.05, "adaptive", 3)
    start = caviar.first_quantile(y, 0.05)
    grid = np.linspace(1e-3, 1, 4000)
    values = np.empty(len(grid))
    points = np.column_stack([grid, np.zeros((len(grid), 3))])
    kernels.screen(kernels.ADAPTIVE, points, y, y, 0.05, start, values)
    assert fit.objective <= values.min() * (1 + 1e-9)


@pytest.mark.parametrize("form", ["sav", "as", "ig"])
@settings(max_examples=5, deadline=None)
@given(power=st.integers(-8, 8))
def test_fits_are_scale_equivariant(form: str, power: int) -> None:
    y, factor = _returns(600), 2.0**power
    one = fit_caviar(y, 0.05, form, 3, starts=60, polished=2)
    other = fit_caviar(factor * y, 0.05, form, 3, starts=60, polished=2)
    np.testing.assert_array_equal(quantile_path(other, factor * y), factor * quantile_path(one, y))
    third = fit_caviar(3 * y, 0.05, form, 3, starts=60, polished=2)
    np.testing.assert_allclose(quantile_path(third, 3 * y), 3 * quantile_path(one, y), rtol=1e-3)


def test_the_adaptive_form_depends_on_the_unit() -> None:
    y = _returns(600)
    one, other = fit_caviar(y, 0.05, "adaptive", 3), fit_caviar(0.01 * y, 0.05, "adaptive", 3)
    assert np.max(np.abs(quantile_path(other, 0.01 * y) / (0.01 * quantile_path(one, y)) - 1)) > 0.01


def test_same_seed_same_bits_and_filter_goes_on() -> None:
    y = _returns(700)
    one, two = (fit_caviar(y[:600], 0.05, "as", 9) for _ in range(2))
    assert one == two
    whole = quantile_path(one, y)
    np.testing.assert_array_equal(quantile_path(one, y[:650]), whole[:651])


def test_gate_refuses_a_quantile_that_is_not_positive() -> None:
    y = _returns(600)
    falling = CaviarFit("sav", 0.05, (-1.0, 0.5, 0.1), 1.0, 10.0, 600, 0, "")
    assert "not positive" in caviar._gated(falling, y, np.maximum(y, 0)).refusal
    assert (
        "at observation 0, not positive"
        in caviar._gated(CaviarFit("sav", 0.05, (1.0, 0.5, 0.1), 0.0, 10.0, 600, 0, ""), y, np.maximum(y, 0)).refusal
    )
    assert "quantile is -0, not positive" in fit_caviar(np.zeros(600), 0.05, "sav", 3).refusal
    assert "the sample's own quantile is -1." in fit_caviar(np.abs(y) + 1, 0.05, "sav", 3).refusal


def test_messages_name_what_is_wrong() -> None:
    y = _returns(400)
    with pytest.raises(ValueError, match="form 'xyz' is unknown; choose one of sav, as, ig, adaptive"):
        fit_caviar(y, 0.05, "xyz", 1)
    with pytest.raises(ValueError, match=r"p is 0\.7"):
        fit_caviar(y, 0.7, "sav", 1)
    with pytest.raises(ValueError, match="299 observations"):
        fit_caviar(y[:299], 0.05, "sav", 1)
    y[17] = np.nan
    with pytest.raises(ValueError, match="observation 17 is not finite"):
        fit_caviar(y, 0.05, "sav", 1)


def _walk(form: str, panel: pd.DataFrame, asked: pd.DataFrame, bps: tuple[int, ...] = (500,)) -> pd.DataFrame:
    return classical.forecast(f"caviar_{form}", panel, asked, seed=5, probabilities_bps=bps)


@pytest.mark.parametrize("form", FORMS)
def test_walk_is_one_fit_a_quarter_filtered_to_the_day(form: str) -> None:
    panel = raw_panel(700, ("AAA",))
    target = questions(panel, "2021-11-20").iloc[:1]
    found = _walk(form, panel, target)
    mine = panel[panel["target_date"] <= target["as_of"].iloc[0]]
    end = int((panel["target_date"] <= "2021-10-01").sum())
    y, good = -100 * mine["high_log"].to_numpy(), 100 * np.maximum(mine["low_log"].to_numpy(), 0)
    fit = fit_caviar(y[:end], 0.05, form, 5, good=good[:end])
    v = quantile_path(fit, y, good)
    short = found[found["side"] == "short"].iloc[0]
    assert short["quantile_log"] == pytest.approx(v[-1] / 100, rel=1e-14)
    is_beyond = y < -v[:-1]
    assert is_beyond.sum() >= 10
    ratio = (-y / v[:-1])[is_beyond].mean()
    assert short["shortfall_log"] == pytest.approx(v[-1] / 100 * ratio, rel=1e-12)


def test_window_is_at_most_fifteen_hundred_and_at_least_five_hundred() -> None:
    panel = raw_panel(1800, ("AAA",))
    target = questions(panel, "2024-11-20").iloc[:1]
    found = _walk("sav", panel, target)
    end = int((panel["target_date"] <= "2024-10-01").sum())
    later = panel["target_date"] <= target["as_of"].iloc[0]
    y = -100 * panel["low_log"].to_numpy()[end - 1500 : int(later.sum())]
    fit = fit_caviar(y[:1500], 0.05, "sav", 5)
    assert fit.observations == 1500
    assert found["quantile_log"].iloc[0] == pytest.approx(quantile_path(fit, y)[-1] / 100, rel=1e-14)
    every = _walk("sav", panel, questions(panel, "2021-03-01").iloc[:140])
    # 456 rows are known on 2021-04-01 and 547 on 2021-07-01, whose quarter is the first with a fit.
    known = every.loc[every["quantile_log"].notna(), "target_date"]
    assert known.min() == pd.Timestamp("2021-07-02")


def test_shortfall_is_pooled_where_a_market_has_few_exceedances() -> None:
    panel = raw_panel(640, ("AAA", "BBB", "CCC", "DDD"))
    target = questions(panel, "2021-09-28")
    target = target[(target["symbol"] == "BBB")].iloc[:1]
    found = _walk("ig", panel, target, (50,)).iloc[0]
    ratios = []
    for _, rows in panel[panel["target_date"] <= target["as_of"].iloc[0]].groupby("symbol"):
        y = -100 * rows["low_log"].to_numpy()
        end = int((rows["target_date"] <= "2021-07-01").sum())
        v = quantile_path(fit_caviar(y[:end], 0.005, "ig", 5), y)[:-1]
        own = (-y / v)[y < -v]
        assert len(own) < 10
        ratios.append(own)
    assert len(np.concatenate(ratios)) >= 10
    assert found["shortfall_log"] == pytest.approx(found["quantile_log"] * np.concatenate(ratios).mean(), rel=1e-12)
    alone = _walk("ig", panel[panel["symbol"] == "BBB"], target, (50,)).iloc[0]
    assert alone["quantile_log"] == found["quantile_log"]
    assert np.isnan(alone["shortfall_log"]), "fewer than ten exceedances in all are not enough data"


@pytest.mark.parametrize("form", FORMS)
def test_a_day_alone_has_the_bits_of_all_days(form: str) -> None:
    panel = raw_panel(660)
    every = questions(panel, "2021-09-20")
    whole = _walk(form, panel, every, (100,))
    assert whole["quantile_log"].notna().all()
    for row in (0, len(every) - 1):
        one = every.iloc[row : row + 1]
        assert bytes_of(_walk(form, panel, one, (100,))) == bytes_of(same_rows(whole, one))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=2, deadline=None)
@given(cut=st.integers(555, 690), seed=st.integers(2, 99))
def test_nothing_on_or_after_a_day_moves_its_forecast(form: str, cut: int, seed: int) -> None:
    panel = raw_panel(700)
    day = panel["target_date"].unique()[cut]
    every = questions(panel, "2021-07-01")
    asked = every[every["target_date"] <= day].iloc[-20:]
    other = raw_panel(700, seed=seed, scale=3.0)
    other = other[(other["target_date"] >= day) & (np.arange(len(other)) % 7 != 3)]
    replaced = pd.concat([panel[panel["target_date"] < day], other], ignore_index=True)
    before = _walk(form, panel, asked, (100,))
    assert before["quantile_log"].notna().any()
    assert bytes_of(_walk(form, replaced, asked, (100,))) == bytes_of(before)


def test_refused_fits_are_named_and_answer_nothing() -> None:
    panel = raw_panel(700, ("AAA",))
    panel["low_log"] = -panel["low_log"].abs() - 0.01
    walked = classical.walk("caviar_sav", panel, questions(panel, "2021-11-20"), seed=5, probabilities_bps=(500,))
    long = walked.forecasts[walked.forecasts["side"] == "long"]
    assert long[["quantile_log", "shortfall_log"]].isna().all(axis=None)
    assert walked.forecasts.loc[walked.forecasts["side"] == "short", "quantile_log"].notna().all()
    row = walked.refusals.iloc[0]
    assert (row["symbol"], row["model"], row["side"], row["tail_probability_bps"]) == ("AAA", "caviar_sav", "long", 500)
    assert row["fit_end"] == pd.Timestamp("2021-10-01")
    assert "not positive" in row["reason"]


def test_a_quantile_that_leaves_the_domain_between_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = raw_panel(700, ("AAA",))
    shrinking = CaviarFit("sav", 0.05, (-1e-6, 0.5, 0.0), 1.0, 10.0, 639, 0, "")
    monkeypatch.setattr(caviar, "fit_caviar", lambda *_, **__: shrinking)
    walked = classical.walk("caviar_sav", panel, questions(panel, "2021-11-20"), seed=5, probabilities_bps=(500,))
    assert walked.forecasts["quantile_log"].isna().all()
    assert list(walked.refusals["side"]) == ["long", "short"]
    assert walked.refusals["reason"].str.contains("the quantile came to -2e-08, not positive").all()


# Market, p, form, RQ of the 2,892 observations in sample, parameters to four digits, share of misses of the rest.
PUBLISHED = [
    (0, 0.01, "as", 169.2166, (0.3734, 0.7995, 0.2779, 0.4569), 0.014),
    (1, 0.01, "as", 179.4021, (0.0558, 0.9423, 0.0499, 0.2512), 0.016),
    (2, 0.01, "as", 105.8250, (0.1476, 0.8729, -0.0139, 0.4969), 0.016),
    (0, 0.01, "ig", 170.9864, (1.4959, 0.7804, 0.9356), 0.012),
    (1, 0.01, "ig", 183.4315, (1.3289, 0.8740, 0.3374), 0.016),
    (2, 0.01, "ig", 108.3438, (0.2328, 0.8350, 1.0582), 0.018),
    (0, 0.01, "adaptive", 179.6069, (0.2968,), None),
    (1, 0.01, "adaptive", 192.1998, (0.1626,), None),
    (2, 0.01, "adaptive", 117.4228, (0.5562,), None),
    (0, 0.01, "sav", 170.4846, (0.3437, 0.8161, 0.3468), None),
    (2, 0.01, "sav", 107.8127, (0.0063, 0.9575, 0.1469), None),
    (0, 0.05, "sav", 551.2925, (0.1582, 0.8857, 0.1145), None),
    (0, 0.05, "as", 548.3052, (0.0760, 0.9326, 0.0398, 0.1218), None),
    (2, 0.05, "as", 300.82, (0.0378, 0.9025, 0.0377, 0.2871), None),
]
ORACLES = os.environ.get("PLIMSOLL_ORACLES")


@pytest.mark.parametrize(("market", "p", "form", "objective", "parameters", "out"), PUBLISHED if ORACLES else [])
def test_published_estimates(
    market: int, p: float, form: str, objective: float, parameters: tuple[float, ...], out: float | None
) -> None:
    y = pd.read_csv(Path(str(ORACLES)) / "dataCAViaR.csv").iloc[:, market].to_numpy(np.float64)
    fit = fit_caviar(y[:2892].copy(), p, form, 7, starts=4000, polished=60 if form != "adaptive" else 8)
    assert fit.objective == pytest.approx(objective, abs=6e-5 if objective != 300.82 else 6e-3)
    np.testing.assert_allclose(fit.parameters, parameters, atol=1.5e-4)
    if out is not None:
        assert np.mean(y[2892:] < -quantile_path(fit, y)[2892:-1]) == pytest.approx(out, abs=1e-12)


@pytest.mark.parametrize(
    ("form", "parameters", "value"),
    [("as", (0.3734, 0.7995, 0.2779, 0.4569), 169.2181), ("ig", (1.4959, 0.7804, 0.9356), 170.9870)] if ORACLES else [],
)
def test_objective_at_the_published_digits(form: str, parameters: tuple[float, ...], value: float) -> None:
    y = pd.read_csv(Path(str(ORACLES)) / "dataCAViaR.csv").iloc[:2892, 0].to_numpy(np.float64)
    start = caviar.first_quantile(y, 0.01)
    fit = CaviarFit(form, 0.01, parameters, start, 0.0, len(y), 0, "")
    v = quantile_path(fit, y)[:-1]
    assert float(np.sum((0.01 - (y < -v)) * (y + v))) == pytest.approx(value, abs=5e-5)
