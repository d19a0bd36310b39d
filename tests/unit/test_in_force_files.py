"""Files of parameters in force: every fault named by file, row and key; whole sets; age; reserves of a venue."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project import in_force_files, venue_files
from dagster_project.in_force_files import InForceError, InForceSet

VENUES = venue_files.load()
PROFILES = {
    ("BTC", "lending"): VENUES.profile("aave_v3", "lending"),
    ("BTC", "perpetual"): VENUES.profile("hyperliquid", "perpetual"),
    ("ETH", "lending"): VENUES.profile("compound_v3", "lending"),
}
HEADER = "venue,symbol,product,side,parameter,value_bps,read_on"
BTC = """aave_v3,BTC,lending,long,liquidationThreshold,7800,2026-09-01
aave_v3,BTC,lending,long,LTV,7300,2026-09-01
aave_v3,BTC,lending,long,bonus,500,2026-09-01
"""
GOOD = f"""{HEADER}
{BTC}hyperliquid,BTC,perpetual,both,maxLeverage,40,2026-09-01
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "in_force.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def sets(path: Path) -> dict[tuple[str, str, str], InForceSet]:
    return in_force_files.sets_of(path, in_force_files.read(path), PROFILES)


def test_whole_sets_are_made_of_rows(written: Callable[[str], Path]) -> None:
    found = sets(written(GOOD))
    assert list(found) == [("BTC", "lending", "long"), ("BTC", "perpetual", "long"), ("BTC", "perpetual", "short")]
    lending = found["BTC", "lending", "long"]
    assert lending.values == {"lt": 7800, "ltv": 7300, "bonus": 500}
    assert lending.venue == "aave_v3"
    assert found["BTC", "perpetual", "short"].values == {"max_leverage": 40}
    # Without changed_on no change is younger than the day it was read.
    assert lending.changed_on == dict.fromkeys(("lt", "ltv", "bonus"), date(2026, 9, 1))


def test_last_changes_are_read_where_given(written: Callable[[str], Path]) -> None:
    lines = [f"{HEADER},changed_on", *(f"{line},2026-08-0{at}" for at, line in enumerate(BTC.splitlines(), 1))]
    found = sets(written("\n".join([*lines[:-1], lines[-1].removesuffix("2026-08-03")])))
    assert found["BTC", "lending", "long"].changed_on == {
        "lt": date(2026, 8, 1),
        "ltv": date(2026, 8, 2),
        "bonus": date(2026, 9, 1),
    }


def test_order_marks_and_blank_lines_do_not_matter(written: Callable[[str], Path]) -> None:
    lines = GOOD.splitlines()
    turned = "\r\n".join([lines[0], "", *reversed(lines[1:])])
    assert sets(written("\ufeff" + turned)) == sets(written(GOOD))


def test_parquet_is_read_alike(tmp_path: Path, written: Callable[[str], Path]) -> None:
    frame = pd.read_csv(written(GOOD))
    frame["read_on"] = pd.to_datetime(frame["read_on"])
    path = tmp_path / "in_force.parquet"
    frame.to_parquet(path)
    assert sets(path) == sets(written(GOOD))
    frame.assign(value_bps=frame["value_bps"].astype(float)).to_parquet(path)
    assert sets(path) == sets(written(GOOD))
    frame.assign(value_bps=frame["value_bps"] + 0.5).to_parquet(path)
    with pytest.raises(InForceError, match=r"row 1: column value_bps: '7800\.5' is no whole number"):
        sets(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InForceError, match="not a readable Parquet file"):
        sets(path)


def row(**change: str) -> str:
    cells = dict(zip(HEADER.split(","), ("aave_v3", "BTC", "lending", "long", "lt", "7800", "2026-09-01"), strict=True))
    return f"{HEADER}\n{BTC}{','.join((cells | change).values())}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty; it needs a header venue, symbol"),
        (HEADER, "no rows"),
        (HEADER.replace("side,", ""), r"column\(s\) side missing; it needs venue"),
        (HEADER + ",colour", r"unknown column\(s\) colour"),
        (HEADER + ",side", r"column\(s\) side stand twice"),
        (row(venue=""), "row 4: column venue is empty"),
        (row(product="loan"), "row 4: column product: 'loan' is neither lending nor perpetual"),
        (row(side="left"), "row 4: column side: 'left' is none of long, short, both"),
        (row(value_bps="78 %"), "row 4: column value_bps: '78 %' is no whole number; write 8300 for 83 %"),
        (row(value_bps="0.78"), "row 4: column value_bps: '0.78' is no whole number"),
        (row(value_bps="-1"), "row 4: column value_bps: '-1' is no whole number"),
        (row(value_bps="nan"), "row 4: column value_bps: 'nan' is no whole number"),
        (row(read_on="01.09.2026"), "row 4: column read_on: '01.09.2026' is no day"),
        (row(read_on="2026-02-30"), "row 4: column read_on: '2026-02-30' is no day"),
        (row(symbol="DOGE"), "row 4: 'DOGE' is no lending market of this configuration, which has BTC, ETH"),
        (row(symbol="ETH", product="perpetual"), "row 4: 'ETH' is no perpetual market .* which has BTC"),
        (row(venue="own"), "row 4: BTC lending is configured for venue 'aave_v3', not 'own'"),
        (row(parameter="mm"), r"row 4: column parameter: aave_v3: no parameter 'mm'; it has lt \(liquidationThreshold"),
        (row(value_bps="7850"), "row 4: BTC lending long lt is 7850 here and 7800 in row 1; one value is in force"),
        (row(side="both", value_bps="7850"), "row 4: BTC lending long lt is 7850 here and 7800 in row 1"),
        (row(side="short"), "BTC lending short lacks LTV, liquidationBonus; a set is judged whole or not at all"),
        (GOOD + "aave_v3,BTC,lending\n", "row 5: 3 cells where the header has 7"),
        (GOOD + 'aave_v3,"BTC', "line 6: not comma-separated text"),
        (b"\xff\xfe" + HEADER.encode(), "not UTF-8 at byte 0"),
    ],
)
def test_faults_are_named(written: Callable[[str | bytes], Path], content: str | bytes, words: str) -> None:
    path = written(content)
    with pytest.raises(InForceError, match=words) as told:
        sets(path)
    assert str(path) in str(told.value)


def test_a_change_cannot_follow_its_reading(written: Callable[[str], Path]) -> None:
    text = f"{HEADER},changed_on\n{BTC.splitlines()[0]},2026-09-02\n"
    with pytest.raises(InForceError, match="row 1: changed_on 2026-09-02 lies after read_on 2026-09-01"):
        in_force_files.read(written(text))


def test_the_same_value_twice_counts_once_with_its_newest_reading(written: Callable[[str], Path]) -> None:
    found = sets(written(row(read_on="2026-09-05")))
    assert found["BTC", "lending", "long"].read_on["lt"] == date(2026, 9, 5)
    assert found["BTC", "lending", "long"].read_on["ltv"] == date(2026, 9, 1)


def test_a_file_must_be_there_and_of_a_known_kind(tmp_path: Path) -> None:
    with pytest.raises(InForceError, match="no such file"):
        in_force_files.read(tmp_path / "none.csv")
    with pytest.raises(InForceError, match="not a regular file"):
        in_force_files.read(tmp_path)
    path = tmp_path / "in_force.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(InForceError, match=r"not \.csv or \.parquet"):
        in_force_files.read(path)
    path = tmp_path / "in_force.csv"
    path.write_bytes(b" " * (in_force_files.SIZE_CAP + 1))
    with pytest.raises(InForceError, match="larger than 16 MiB"):
        in_force_files.read(path)


def test_file_and_configuration_may_not_state_the_same_set(written: Callable[[str], Path]) -> None:
    path = written(GOOD)
    found = sets(path)
    day = date(2026, 9, 1)
    eth = InForceSet("compound_v3", "ETH", "lending", "long", {"lt": 8000}, {"lt": day})
    assert list(in_force_files.combined(path, found, {eth.key: eth})) == [*found, ("ETH", "lending", "long")]
    with pytest.raises(InForceError, match="BTC lending long: stated in the file and in the configuration"):
        in_force_files.combined(path, found, {("BTC", "lending", "long"): eth})


def test_age_and_broken_rules_are_findings(written: Callable[[str], Path]) -> None:
    found = sets(written(GOOD))

    def told(day: date, **more: int) -> list[tuple[str, str]]:
        frame = in_force_files.findings(found.values(), PROFILES, as_of=day, **more)
        assert list(frame.columns) == list(in_force_files.FINDINGS)
        return sorted(set(zip(frame["parameter"], frame["finding"], strict=True)))

    assert told(date(2026, 9, 1)) == told(date(2026, 10, 1)) == []
    every = ["bonus", "lt", "ltv", "max_leverage"]
    assert told(date(2026, 10, 2)) == [(key, "stale") for key in every]
    assert told(date(2026, 9, 3), max_age_days=1) == [(key, "stale") for key in every]
    assert told(date(2026, 8, 31)) == [(key, "future") for key in every]
    broken = sets(written(GOOD.replace("LTV,7300", "LTV,7800")))
    frame = in_force_files.findings(broken.values(), PROFILES, as_of=date(2026, 9, 1))
    assert frame["finding"].tolist() == ["rule"]
    assert frame["detail"].item() == "LTV 78 % does not lie below liquidation threshold 78 %"


def test_what_the_configuration_states_is_said_in_the_venues_terms() -> None:
    day = date(2026, 9, 1)
    compound = in_force_files.inline_set(
        PROFILES["ETH", "lending"],
        symbol="ETH",
        side="long",
        values={"lt": 8025, "ltv": 7500, "bonus": 500},
        read_on=day,
    )
    assert compound.key == ("ETH", "lending", "long")
    assert compound.values == {"lt": 8025, "ltv": 7500, "liquidation_factor": 9523}
    assert compound.changed_on == compound.read_on == dict.fromkeys(compound.values, day)


def test_the_table_of_a_configuration() -> None:
    assert in_force_files.InForceTable(path=Path("in_force.csv")).max_age_days == 30
    with pytest.raises(ValueError, match="max_age_days"):
        in_force_files.InForceTable(path=Path("in_force.csv"), max_age_days=0)


RESERVES = """fetched_at,chain,symbol,ltv,liquidationThreshold,liquidationBonus
2026-09-01,ethereum,WETH,0.805,0.83,1.05
2026-09-01,optimism,WETH,0.8,0.825,1.05
2026-09-01,ethereum,WBTC,0.73,0.78,1.05
2026-09-01,ethereum,GHO,0.0,0.0,0.0
2026-09-01,ethereum,ODD,0.80505,0.83,1.05
"""


def test_reserves_become_rows_that_are_read_again(written: Callable[[str], Path], tmp_path: Path) -> None:
    aave = PROFILES["BTC", "lending"]
    common = {"profile": aave, "read_on": date(2026, 9, 1)}
    path = written(RESERVES)
    frame = in_force_files.rows_of_reserves(path, {"WETH": "ETH", "WBTC": "BTC"}, only={"chain": "ethereum"}, **common)  # type: ignore[arg-type]
    assert frame["value_bps"].tolist() == [8300, 8050, 500, 7800, 7300, 500]
    frame.to_csv(tmp_path / "made.csv", index=False)
    rows = in_force_files.read(tmp_path / "made.csv")
    profiles = {("BTC", "lending"): aave, ("ETH", "lending"): aave}
    found = in_force_files.sets_of(tmp_path / "made.csv", rows, profiles)
    assert found["ETH", "lending", "long"].values == {"lt": 8300, "ltv": 8050, "bonus": 500}
    for symbol, words in (
        ("WETH", r"symbol WETH stands in 2 rows \(1, 2\); exactly one must remain"),
        ("DOGE", "symbol DOGE stands in 0 rows"),
        ("GHO", r"row 4: GHO: no collateral there \(threshold 0"),
        ("ODD", "row 5: ODD: column ltv: '0.80505' is no fraction in whole basis points"),
    ):
        with pytest.raises(InForceError, match=words):
            in_force_files.rows_of_reserves(path, {symbol: "ETH"}, **common)  # type: ignore[arg-type]
    with pytest.raises(InForceError, match=r"column\(s\) pool missing"):
        in_force_files.rows_of_reserves(path, {"WETH": "ETH"}, only={"pool": "core"}, **common)  # type: ignore[arg-type]
