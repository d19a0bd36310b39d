"""Smoothing: what each rule promises against the raw budget, and that it looks only back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import smoothing
from plimsoll.smoothing import RULES, SmoothingSpec

SIGMAS = st.lists(st.floats(0.005, 0.5), min_size=12, max_size=120)


def _budget(sigma: np.ndarray) -> np.ndarray:
    """A budget that is not proportional to volatility: costs, and a day's own quantile."""
    return 0.008 + (2 + np.arange(len(sigma)) % 5) * sigma


def _proportional(sigma: np.ndarray) -> np.ndarray:
    return 3.0 * sigma


def _spec(rule: str, **changes: object) -> SmoothingSpec:
    return SmoothingSpec(**({"rule": rule, "minimum_history": 10} | changes))  # type: ignore[arg-type]


def _smooth(values: np.ndarray, rule: str, budget: object = _budget, **changes: object) -> smoothing.Smoothed:
    long_run = np.sqrt(np.cumsum(values**2) / np.arange(1, len(values) + 1))
    return smoothing.smooth(values, budget, _spec(rule, **changes), long_run=long_run)  # type: ignore[arg-type]


@given(st.integers(0, 10_000), st.integers(11, 79))
@settings(max_examples=25, deadline=None)
def test_no_rule_looks_ahead(seed: int, at: int) -> None:
    draws = np.random.default_rng(seed)
    sigma = 0.03 * np.exp(0.5 * draws.standard_normal(80))
    other = np.concatenate([sigma[:at], 0.09 * np.exp(draws.standard_normal(80 - at))])
    for rule in RULES:
        one, changed, short = (_smooth(series, rule) for series in (sigma, other, sigma[:at]))
        for name in ("raw", "smoothed", "reference_sigma"):
            expected = getattr(one, name)[:at]
            np.testing.assert_array_equal(getattr(changed, name)[:at], expected, err_msg=f"{rule} {name}")
            np.testing.assert_array_equal(getattr(short, name), expected, err_msg=f"{rule} {name}")


@given(SIGMAS)
@settings(max_examples=60, deadline=None)
def test_what_each_rule_promises_against_the_raw_budget(values: list[float]) -> None:
    sigma = np.asarray(values)
    raw = _smooth(sigma, "none")
    np.testing.assert_array_equal(raw.smoothed, raw.raw)
    floor = _smooth(sigma, "floor")
    assert not floor.is_below_raw.any()
    np.testing.assert_array_equal(floor.raw, raw.raw)
    buffer = _smooth(sigma, "buffer")
    known = np.isfinite(buffer.smoothed)
    assert (buffer.smoothed[known] >= buffer.raw[known]).all()
    assert (buffer.smoothed[known] <= 1.25 * buffer.raw[known] * (1 + 1e-12)).all()
    blend = _smooth(sigma, "blend")
    known = np.isfinite(blend.reference_sigma)
    gap = blend.smoothed[known] - blend.raw[known]
    np.testing.assert_array_less(-1e-12, gap[blend.reference_sigma[known] >= sigma[known]])
    assert (blend.smoothed[known] >= 0.75 * blend.raw[known]).all()


def test_a_blend_asks_for_less_on_the_days_beyond_its_own_stress() -> None:
    sigma = np.concatenate([np.full(300, 0.03), [0.30]])
    found = _smooth(sigma, "blend", _proportional)
    assert np.flatnonzero(found.is_below_raw).tolist() == [300]
    assert found.reference_sigma[300] == pytest.approx(0.03)
    assert found.smoothed[300] == pytest.approx(0.75 * 0.9 + 0.25 * 0.09)


@given(SIGMAS, st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_a_budget_in_another_unit_is_smoothed_alike(values: list[float], unit: float) -> None:
    sigma = np.asarray(values)
    for rule in RULES:
        one = _smooth(sigma, rule, _proportional)
        other = _smooth(sigma * unit, rule, lambda s: 3.0 * s)
        np.testing.assert_allclose(other.smoothed, one.smoothed * unit, rtol=1e-9)


def test_a_buffer_is_drawn_as_the_budget_rises_and_comes_back_over_sixty_days() -> None:
    calm, crash, after = np.full(20, 0.10), np.asarray([0.11, 0.12, 0.13, 0.20]), np.full(80, 0.10)
    total = np.concatenate([calm, crash, after])
    is_calm = total == 0.10
    found = smoothing.exhaustible_buffer(total, is_calm, share=0.25, replenish_days=60)
    np.testing.assert_allclose(found[:20], 0.125)
    np.testing.assert_allclose(found[20:22], 0.125, err_msg="drawn: the published budget stands still")
    np.testing.assert_allclose(found[22:24], [0.13, 0.20], err_msg="exhausted: it follows the raw one")
    np.testing.assert_allclose(found[24:84], 0.10 * (1 + 0.25 * np.arange(1, 61) / 60))
    np.testing.assert_allclose(found[84:], 0.125)


def test_a_buffer_needs_calm_before_it_exists_and_ignores_unknown_days() -> None:
    total = np.asarray([0.3, np.nan, 0.2, 0.1, np.nan, 0.11])
    is_calm = np.asarray([False, True, False, True, False, False])
    found = smoothing.exhaustible_buffer(total, is_calm, share=0.25, replenish_days=60)
    np.testing.assert_allclose(found, [0.3, np.nan, 0.2, 0.125, np.nan, 0.125])


def test_too_little_history_is_no_number() -> None:
    sigma = np.linspace(0.01, 0.05, 30)
    for rule in ("blend", "buffer"):
        found = _smooth(sigma, rule, minimum_history=20)
        assert np.isnan(found.smoothed[:19]).all()
        assert np.isfinite(found.smoothed[19:]).all()
        assert np.isfinite(found.raw).all()


def test_an_unknown_volatility_gives_no_budget_under_any_rule() -> None:
    sigma = np.linspace(0.01, 0.05, 30)
    sigma[25] = np.nan
    for rule in RULES:
        found = smoothing.smooth(sigma, _budget, _spec(rule), long_run=np.full(30, 0.02))
        assert np.isnan(found.smoothed[25])
        assert np.isfinite(found.smoothed[26])


def test_the_long_run_floor_is_the_largest_of_its_floors() -> None:
    np.testing.assert_array_equal(smoothing.floored([0.01, 0.03], 0.02, [0.015, 0.04]), [0.02, 0.04])
    assert np.isnan(smoothing.floored([0.01], np.nan)).all()


def test_past_quantile_counts_the_day_itself() -> None:
    np.testing.assert_allclose(
        smoothing.past_quantile([1.0, np.nan, 3.0, 2.0], 0.5, minimum=2), [np.nan, np.nan, 2.0, 2.0]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "median"}, "rule 'median'"),
        ({"stress_weight": 1.5}, "stress_weight"),
        ({"stress_quantile": -0.1}, "stress_quantile"),
        ({"buffer_share": -0.1}, "buffer_share"),
        ({"replenish_days": 0}, "replenish_days"),
    ],
)
def test_knobs_that_mean_nothing_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmoothingSpec(**changes)  # type: ignore[arg-type]


def test_inputs_that_mean_nothing_are_refused() -> None:
    sigma = np.full(20, 0.03)
    with pytest.raises(ValueError, match="long_run"):
        smoothing.smooth(sigma, _budget, SmoothingSpec())
    with pytest.raises(ValueError, match="row 3: volatility"):
        smoothing.smooth(np.asarray([0.1, 0.1, 0.1, -0.1]), _budget, _spec("none"))
    with pytest.raises(ValueError, match="row by row"):
        smoothing.smooth(sigma, lambda s: s[:3], _spec("none"))
    with pytest.raises(ValueError, match="row 1: budget 0"):
        smoothing.exhaustible_buffer([0.1, 0.0], [True, True], share=0.25, replenish_days=60)
    with pytest.raises(ValueError, match="calm flags"):
        smoothing.exhaustible_buffer([0.1, 0.2], [True], share=0.25, replenish_days=60)
