"""EGARCH: the filter against arch, the gate, the walk against one fit, no look-ahead."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arch import arch_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from plimsoll.challengers import classical, egarch
from plimsoll.challengers.egarch import EgarchFit, filter_volatility, fit_egarch, long_run_volatility
from tests.unit.test_challengers_classical import bytes_of, questions, raw_panel, same_rows

PARAMETERS = EgarchFit(0.05, 0.08, 0.2, -0.05, 0.95, 5.0, 1.1, -1000.0, "")


def _returns(n: int = 900, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = rng.standard_t(5, n) * np.sqrt(3 / 5)
    level, out = 2.0, np.empty(n)
    for t in range(n):
        out[t] = np.exp(level / 2) * z[t]
        level = 0.1 + 0.25 * (abs(z[t]) - 0.74) - 0.05 * z[t] + 0.95 * level
    return out


def test_filter_by_hand() -> None:
    r = np.asarray([1.05, -2.95])
    level = 0.08 + 0.95 * 1.1
    expected = [level]
    for value in r:
        z = (value - 0.05) / np.exp(level / 2)
        level = 0.08 + 0.2 * (abs(z) - np.sqrt(2 / np.pi)) - 0.05 * z + 0.95 * level
        expected.append(level)
    np.testing.assert_allclose(filter_volatility(r, PARAMETERS), np.exp(np.asarray(expected) / 2), rtol=1e-14)


def test_filter_is_the_conditional_volatility_of_arch_and_goes_on_as_it_does() -> None:
    r = _returns()
    fit = fit_egarch(r[:800])
    assert fit.refusal == ""
    theirs = arch_model(r[:800], mean="Constant", vol="EGARCH", p=1, o=1, q=1, dist="t", rescale=False)
    fixed = theirs.fix([fit.mu, fit.omega, fit.alpha, fit.gamma, fit.beta, fit.nu])
    own = filter_volatility(r, fit)
    np.testing.assert_allclose(own[:800], fixed.conditional_volatility, rtol=1e-9)
    following = np.sqrt(fixed.forecast(horizon=1).variance.to_numpy()[-1, 0])
    assert own[800] == pytest.approx(following, rel=1e-9)
    assert fit.loglikelihood == pytest.approx(fixed.loglikelihood, abs=1e-6)


def test_fit_is_no_starting_value_and_not_below_arch_alone() -> None:
    r = _returns()
    fit = fit_egarch(r)
    model = arch_model(r, mean="Constant", vol="EGARCH", p=1, o=1, q=1, dist="t", rescale=False)
    alone = model.fit(disp="off")
    assert fit.loglikelihood >= alone.loglikelihood - 1e-9
    for name, value in (("alpha", fit.alpha), ("beta", fit.beta)):
        for step in (-0.02, 0.02):
            moved = model.fix([getattr(replace(fit, **{name: value + step}), key) for key in ORDER])
            assert moved.loglikelihood < fit.loglikelihood


ORDER = ("mu", "omega", "alpha", "gamma", "beta", "nu")


def test_long_run_level_against_integration() -> None:
    scale = np.sqrt(3 / 5)
    mean = 2 * integrate.quad(lambda x: x * scale * stats.t.pdf(x, 5), 0, np.inf)[0]
    expected = np.exp((0.08 + 0.2 * (mean - np.sqrt(2 / np.pi))) / (2 * 0.05))
    assert long_run_volatility(PARAMETERS) == pytest.approx(expected, rel=1e-8)


class _Found:
    convergence_flag = 0

    def __init__(self, volatility: np.ndarray) -> None:
        self.conditional_volatility = volatility


def _objection(fit: EgarchFit, sample: float, bias: float = 1.0) -> str:
    r = _returns(300)
    return egarch._refusal(fit, r, sample, _Found(bias * filter_volatility(r, fit)[:-1]))


def test_gate_names_its_reason() -> None:
    level = long_run_volatility(PARAMETERS)
    assert _objection(PARAMETERS, level) == ""
    assert "not finite" in _objection(replace(PARAMETERS, omega=np.nan), level)
    assert "beta 1.0000 outside" in _objection(replace(PARAMETERS, beta=1.0), level)
    assert "degrees of freedom 2.06 outside" in _objection(replace(PARAMETERS, nu=2.06), level)
    assert "degrees of freedom 300.00 outside" in _objection(replace(PARAMETERS, nu=300.0), level)
    assert "long-run volatility is 4.00 times" in _objection(PARAMETERS, level / 4)
    assert "long-run volatility is 0.25 times" in _objection(PARAMETERS, level * 4)
    assert "the filter departs" in _objection(PARAMETERS, level, bias=1 + 2e-9)


def test_flat_returns_are_refused() -> None:
    assert fit_egarch(np.full(600, 0.0)).refusal == "all returns are equal"


def test_walk_is_history_filtered_by_the_quarters_fit() -> None:
    panel = raw_panel(1300, ("AAA",))
    target = questions(panel, "2023-05-20").iloc[:1]
    found = classical.forecast("egarch_fhs", panel, target, seed=0)
    mine = panel[panel["target_date"] <= target["as_of"].iloc[0]]
    end = int((panel["target_date"] <= "2023-04-01").sum())
    r = 100 * mine["close_log"].to_numpy()
    sigma = filter_volatility(r, fit_egarch(r[:end])) / 100
    z = (mine["low_log"].to_numpy() / sigma[:-1])[-1000:]
    long = found[found["side"] == "long"].set_index("tail_probability_bps")
    for bps in (500, 100, 50):
        q = np.quantile(z, 1 - bps / 10_000)
        assert long.loc[bps, "quantile_log"] == pytest.approx(q * sigma[-1], rel=1e-12)
        assert long.loc[bps, "shortfall_log"] == pytest.approx(z[z >= q].mean() * sigma[-1], rel=1e-12)


def test_a_refused_fit_answers_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = raw_panel(760, ("AAA",))
    every = questions(panel, "2021-09-20")
    monkeypatch.setattr(egarch, "fit_egarch", lambda r: replace(PARAMETERS, refusal="a reason" if len(r) < 600 else ""))
    walked = classical.walk("egarch_fhs", panel, every, seed=0)
    is_refused = walked.forecasts["as_of"] < "2021-10-01"
    assert is_refused.any()
    assert walked.forecasts.loc[is_refused, "quantile_log"].isna().all()
    assert walked.forecasts.loc[~is_refused, "quantile_log"].notna().all()
    assert walked.refusals.to_numpy().tolist() == [
        ["AAA", "egarch_fhs", pd.Timestamp("2021-07-01"), "", 0, "a reason"],
    ]


def test_five_hundred_returns_are_the_least() -> None:
    panel = raw_panel(600, ("AAA",))
    found = classical.forecast("egarch_fhs", panel, questions(panel, "2021-04-01"), seed=0)
    known = found.loc[found["quantile_log"].notna(), "target_date"]
    # 456 rows are known on 2021-04-01, 547 on 2021-07-01.
    assert known.min() == pd.Timestamp("2021-07-02")
    assert known.nunique() == len(pd.date_range("2021-07-02", found["target_date"].max()))


def test_a_day_alone_has_the_bits_of_all_days() -> None:
    panel = raw_panel(660)
    every = questions(panel, "2021-09-20")
    whole = classical.forecast("egarch_fhs", panel, every, seed=0)
    assert whole["quantile_log"].notna().all()
    for row in (0, len(every) - 1):
        one = every.iloc[row : row + 1]
        assert bytes_of(classical.forecast("egarch_fhs", panel, one, seed=0)) == bytes_of(same_rows(whole, one))


@settings(max_examples=3, deadline=None)
@given(cut=st.integers(555, 690), seed=st.integers(2, 99))
def test_nothing_on_or_after_a_day_moves_its_forecast(cut: int, seed: int) -> None:
    panel = raw_panel(700)
    day = panel["target_date"].unique()[cut]
    every = questions(panel, "2021-07-01")
    asked = every[every["target_date"] <= day].iloc[-20:]
    other = raw_panel(700, seed=seed, scale=3.0)
    other = other[(other["target_date"] >= day) & (np.arange(len(other)) % 7 != 3)]
    replaced = pd.concat([panel[panel["target_date"] < day], other], ignore_index=True)
    before = classical.forecast("egarch_fhs", panel, asked, seed=0)
    assert before["quantile_log"].notna().any()
    assert bytes_of(classical.forecast("egarch_fhs", replaced, asked, seed=0)) == bytes_of(before)
