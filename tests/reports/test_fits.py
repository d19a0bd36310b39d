"""The health of fits: what is in use, what is out of the ordinary, and the same figures in page and store."""

import re
from dataclasses import replace

import pandas as pd

from reports import web
from reports.view import ReportInputs, ReportView, build


def changed(inputs: ReportInputs, **values: object) -> ReportView:
    """Build a view in which the first market's fit in use says something else."""
    fits = inputs.fits.copy()
    for name, value in values.items():
        fits[name] = fits[name].astype(object)
        fits.loc[0, name] = value
    return build(replace(inputs, fits=fits), draws_markets=False)


def test_an_ordinary_fit_has_no_remark(inputs: ReportInputs) -> None:
    shown = changed(
        inputs, is_igarch=False, limits="", optimum_gap=float("nan"), gate_note="", persistence=0.98, rung="garch_t"
    ).fits[0]
    assert (shown["remark"], shown["arch"], shown["persistence"]) == ("", "agrees", "0.9800")


def test_what_is_out_of_the_ordinary_is_said_in_a_line(inputs: ReportInputs) -> None:
    shown = changed(
        inputs,
        is_igarch=True,
        limits="persistence 1, nu",
        optimum_gap=0.52,
        other_sigma_ratio=1.389,
        gate_note="gjr_t: next variance is 61.10 times the sample's",
    ).fits[0]
    assert shown["remark"] == (
        "integrated, no long-run variance; on a limit: persistence 1, nu; another optimum 0.52 below in log-likelihood "
        "with 1.389 times the volatility; refused: gjr_t: next variance is 61.10 times the sample's"
    )


def test_arch_is_quoted_where_it_objects_and_missing_where_it_has_no_such_rung(inputs: ReportInputs) -> None:
    words = "arch finds an optimum 0.2000 higher in log-likelihood"
    objecting = build(replace(inputs, references=inputs.references.assign(objection=words)), draws_markets=False)
    assert objecting.fits[0]["arch"] == "objects" and objecting.fits[0]["remark"].endswith(words)
    alone = build(replace(inputs, references=inputs.references[:0]), draws_markets=False)
    assert alone.fits[0]["arch"] == "–" and alone.fits[0]["remark"].endswith("arch has no such rung")
    older = inputs.references.assign(fit_end=inputs.references["fit_end"] - pd.Timedelta(days=1))
    assert build(replace(inputs, references=older), draws_markets=False).fits[0]["arch"] == "–"


def test_standard_errors_stand_beside_their_estimates(inputs: ReportInputs, built: ReportView) -> None:
    for row in built.fits:
        fit = inputs.fits[inputs.fits["symbol"] == row["symbol"]].iloc[0]
        error = inputs.references[inputs.references["symbol"] == row["symbol"]].iloc[0]["alpha_std_error"]
        assert row["alpha"] == f"{fit['alpha']:.4f} ({error:.4f})"


def test_a_missing_standard_error_is_named(inputs: ReportInputs) -> None:
    references = inputs.references.assign(omega_std_error=float("nan"), nu_std_error=float("inf"))
    references["message"] = "arch did not arrive, flag 8"
    shown = build(replace(inputs, references=references), draws_markets=False).fits[0]
    assert shown["remark"].endswith("arch did not arrive, flag 8; no standard error of omega and nu")
    assert "(" not in shown["omega"] + shown["nu"] and "(" in shown["alpha"]


def test_shares_are_those_of_the_store(inputs: ReportInputs, built: ReportView) -> None:
    assert len(built.fit_health) == inputs.fit_health["symbol"].nunique()
    for row in built.fit_health:
        own = inputs.fit_health[inputs.fit_health["symbol"] == row["symbol"]].set_index("span")
        year, everything = own.loc["year"], own.loc["all"]
        assert row["first"] == f"{100 * year['first_rung_share']:.1f} % / {100 * everything['first_rung_share']:.1f} %"
        assert row["igarch"].endswith(f"/ {100 * everything['igarch_share']:.1f} %")
        assert re.fullmatch(r"[\d ]+ / [\d ]+", row["fits"])


def test_a_market_without_own_fits_has_dashes(inputs: ReportInputs) -> None:
    health = inputs.fit_health.copy()
    for name in ("igarch_share", "persistence_median", "nu_median"):
        health[name] = float("nan")
    shown = build(replace(inputs, fit_health=health), draws_markets=False).fit_health[0]
    assert (shown["igarch"], shown["persistence"], shown["nu"]) == ("– / –", "– / –", "– / –")


def test_refusals_are_counted_and_shown(inputs: ReportInputs) -> None:
    rows = pd.DataFrame(
        {
            "symbol": ["AAA"],
            "rung": ["garch_t_targeted"],
            "refusal": ["long-run volatility is x times the sample's"],
            "fits": [36],
            "newest": [pd.Timestamp("2022-05-30")],
        }
    )
    shown = build(replace(inputs, refusals=rows), draws_markets=False)
    assert shown.refusals == [
        {
            "symbol": "AAA",
            "fits": "36",
            "newest": "2022-05-30",
            "rung": "garch t targeted",
            "refusal": "long-run volatility is x times the sample's",
        }
    ]
    page = web.page(shown)
    assert "Fits of the last year off the rung asked for" in page and "garch t targeted" in page
