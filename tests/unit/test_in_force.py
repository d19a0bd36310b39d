"""Sets in force from the configuration and from a file, and the grids of a venue's targets."""

from pathlib import Path
from typing import Any

import pytest

from assets._budget import budget_spec, product_specs
from benchmarks._small import CONFIG
from dagster_project import in_force, venue_files
from dagster_project import settings as settings_module
from dagster_project.in_force_files import InForceError
from dagster_project.settings import Settings
from plimsoll.recommendations import LendingSet, PerpetualSet
from plimsoll.venues import expressed

HEADER = "venue,symbol,product,side,parameter,value_bps,read_on"


def settings_of(folder: Path, *rows: str, venues: dict[str, str] | None = None, more: str = "") -> Settings:
    """The small profile with BBB at other venues and its values in a file."""
    text = CONFIG.format(path=folder / "candles.parquet")
    for product, venue in (venues or {}).items():
        text = text.replace(f"[markets.BBB.{product}]\n", f'[markets.BBB.{product}]\nvenue = "{venue}"\n')
    if rows:
        (folder / "in_force.csv").write_text("\n".join((HEADER, *rows)) + "\n")
        text += f'\n[in_force]\npath = "{folder / "in_force.csv"}"\n'
    (folder / "small.toml").write_text(text + more)
    return settings_module.load(folder / "small.toml")


def lending(venue: str, **values: int) -> list[str]:
    return [f"{venue},BBB,lending,long,{key},{value},2022-01-01" for key, value in values.items()]


def test_inline_lending_is_long_and_margins_hold_for_both_sides(tmp_path: Path) -> None:
    assert in_force.live(settings_of(tmp_path)) == {
        ("AAA", "lending", "long"): LendingSet(8300, 8000, 500),
        ("AAA", "perpetual", "long"): PerpetualSet(300, 1000, 10),
        ("AAA", "perpetual", "short"): PerpetualSet(300, 1000, 10),
    }


@pytest.mark.parametrize(
    ("product", "venue", "values", "expected"),
    [
        ("lending", "aave_v3", {"lt": 7100, "ltv": 6600, "bonus": 700}, LendingSet(7100, 6600, 700)),
        ("lending", "aave_v4", {"lt": 7100, "bonus": 700}, LendingSet(7100, 7100, 700)),
        ("lending", "compound_v3", {"lt": 9000, "ltv": 8250, "liquidation_factor": 9500}, LendingSet(9000, 8250, 527)),
        ("lending", "morpho_blue", {"lt": 8600}, LendingSet(8600, 8600, 439)),
        ("perpetual", "hyperliquid", {"max_leverage": 40}, PerpetualSet(125, 250, 40)),
        ("perpetual", "deribit", {"mm": 300, "im": 800}, PerpetualSet(300, 800, 12)),
    ],
)
def test_a_venues_own_terms_are_translated_back(
    tmp_path: Path, product: str, venue: str, values: dict[str, int], expected: Any
) -> None:
    rows = [one.replace("lending,long", f"{product},long") for one in lending(venue, **values)]
    settings = settings_of(tmp_path, *rows, venues={product: venue})
    assert in_force.live(settings)["BBB", product, "long"] == expected
    assert ("BBB", product, "short") not in in_force.sets(settings)
    shown = in_force.rows(settings)
    mine = shown[(shown["symbol"] == "BBB") & (shown["product"] == product)]
    assert set(mine["venue"]) == {venue_files.bundled_profile(venue, product).name}
    assert set(shown.loc[shown["symbol"] == "AAA", "venue"]) == {"test venue", "test pool"}


@pytest.mark.parametrize("factor", range(8000, 9951, 50))
def test_the_floor_of_a_bonus_leads_back_to_the_penalty_in_force(factor: int) -> None:
    profile = venue_files.bundled_profile("compound_v3", "lending")
    asked = expressed(profile, {"lt": 7000, "ltv": 6500, "bonus": in_force.penalty_bonus(factor, 25)})
    assert asked["liquidation_factor"] == factor


def test_the_bonus_of_a_file_bounds_the_budget_as_one_of_the_configuration_does(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, *lending("aave_v3", lt=7100, ltv=6600, bonus=710))
    (product,) = [one for one in product_specs(settings, "BBB") if one.product == "lending"]
    assert product.bonus_floor_bps == 710
    settings = settings_of(
        tmp_path, *lending("compound_v3", lt=7100, ltv=6600, liquidation_factor=9300), venues={"lending": "compound_v3"}
    )
    (product,) = [one for one in product_specs(settings, "BBB") if one.product == "lending"]
    assert product.bonus_floor_bps == 750


def test_one_market_is_stated_in_one_place(tmp_path: Path) -> None:
    rows = [one.replace("BBB", "AAA") for one in lending("aave_v3", lt=7100, ltv=6600, bonus=700)]
    with pytest.raises(InForceError, match="AAA lending long: stated in the file and in the configuration"):
        in_force.sets(settings_of(tmp_path, *rows))


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, *lending("aave_v3", lt=7100, ltv=6600, bonus=700))
    assert in_force.sets(settings) == in_force.sets(settings)
    settings_of(tmp_path, *lending("aave_v3", lt=7050, ltv=6600, bonus=700))
    assert in_force.live(settings)["BBB", "lending", "long"] == LendingSet(7050, 6600, 700)


@pytest.mark.parametrize(
    ("knobs", "venue", "expected"),
    [
        ("", "aave_v3", (50, 25)),
        ("lt_grid_bps = 10\nbonus_grid_bps = 10\n", "aave_v3", (50, 50)),
        ("lt_grid_bps = 10\nbonus_grid_bps = 10\n", "aave_v3_emode", (10, 10)),
        ("lt_grid_bps = 300\n", "aave_v3", (300, 25)),
        ("lt_grid_bps = 20\n", "morpho_blue", (20, 25)),
    ],
)
def test_targets_lie_on_both_grids(tmp_path: Path, knobs: str, venue: str, expected: tuple[int, int]) -> None:
    settings = settings_of(tmp_path, venues={"lending": venue}, more=f"\n[budget]\n{knobs}")
    spec = budget_spec(settings, "BBB", "lending")
    assert (spec.lt_grid_bps, spec.bonus_grid_bps) == expected
    assert budget_spec(settings, "BBB", "perpetual").margin_grid_bps == 5
