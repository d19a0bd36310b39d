"""Disagreement: the gate, the margin behind it and what is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.disagreement import disagreement, sentence

BUDGETS = st.floats(0.001, 2.0)


def test_the_gate_and_its_margin() -> None:
    champion = np.asarray([0.10, 0.10, 0.10, 0.10, 0.10])
    challenger = np.asarray([0.10, 0.125, 0.08, 0.13, 0.05])
    found = disagreement(champion, challenger)
    assert found.is_amber.tolist() == [False, False, False, True, True]
    expected = [0, 0, 0, 0.5 * np.log(1.3) * 0.10, 0.5 * np.log(2) * 0.10]
    np.testing.assert_allclose(found.margin_log, expected, rtol=1e-12)
    np.testing.assert_allclose(found.ratio, champion / challenger)


@given(BUDGETS, st.floats(0.05, 20.0), st.floats(0.1, 10.0))
def test_margin_is_symmetric_in_logs_and_scales_with_the_budget(champion: float, ratio: float, unit: float) -> None:
    one = disagreement(champion, champion * ratio)
    if abs(abs(np.log(ratio)) - np.log(1.25)) < 1e-9:
        return
    assert float(disagreement(champion, champion / ratio).margin_log) == pytest.approx(float(one.margin_log))
    scaled = disagreement(unit * champion, unit * champion * ratio)
    assert float(scaled.margin_log) == pytest.approx(unit * float(one.margin_log))
    assert bool(one.is_amber) == (float(one.margin_log) > 0) == (not 0.8 <= ratio <= 1.25)


@given(st.floats(1.26, 10.0), st.floats(1.01, 3.0))
def test_margin_grows_with_the_distance(ratio: float, further: float) -> None:
    near, far = disagreement(0.1, 0.1 * ratio), disagreement(0.1, 0.1 * ratio * further)
    assert float(far.margin_log) > float(near.margin_log) > 0


def test_no_challenger_is_no_agreement() -> None:
    found = disagreement([0.1, 0.1], [np.nan, 0.2])
    assert np.isnan(found.margin_log[0])
    assert np.isnan(found.ratio[0])
    assert found.is_amber.tolist() == [False, True]
    assert sentence(0.1, np.nan) == "No comparison: the challenger gives no budget."
    assert "champion gives no" in sentence(np.nan, 0.1)


def test_sentences_carry_their_numbers() -> None:
    assert sentence(0.1, 0.11) == "Champion and challenger agree: champion 0.1000, challenger 0.1100, ratio 0.91."
    assert sentence(0.1, 0.2) == (
        "Amber: the models disagree (champion 0.1000, challenger 0.2000, ratio 0.50); "
        "a model margin of 0.0347 is added to the budget."
    )


def test_a_budget_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="challenger: budget 0 at position 1"):
        disagreement([0.1, 0.1], [0.1, 0.0])
    with pytest.raises(ValueError, match="champion: budget -1 at position 0"):
        disagreement(-1.0, [0.1, 0.1])
