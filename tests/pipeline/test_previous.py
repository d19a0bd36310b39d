"""What changed since the last report: compared with what that report asked, not with what was computed beside it."""

from pathlib import Path

import pandas as pd
from tests_support import noted

from dagster_project.warehouse import Session, Warehouse

BEFORE, NOW = pd.Timestamp("2022-03-01"), pd.Timestamp("2022-03-02")


def recommendation(config_hash: str, target: int) -> pd.DataFrame:
    row = {"as_of": BEFORE, "symbol": "AAA", "product": "lending", "side": "long", "parameter": "lt"}
    row |= {"methodology": "1", "config_hash": config_hash, "vintage": "live", "in_force": 7500, "target": target}
    row |= {"proposed": target, "status": "tighten", "reason": "", "implied_probability": 0.01, "implied_note": ""}
    return pd.DataFrame([row | {"input_hash": f"h{target}"}])


def report(day: pd.Timestamp, revision: int, config_hash: str) -> pd.DataFrame:
    row = {"as_of": day, "revision": revision, "decision_id": "d", "status": "proposed", "headline": "h"}
    row |= {"pdf_sha256": "p", "json_sha256": "j", "page_count": 9, "report_path": "r", "methodology": "1"}
    return pd.DataFrame([row | {"config_hash": config_hash}])


def targets(session: Session) -> list[int]:
    return [int(value) for value in session.query("previous_recommendations", as_of=NOW)["target"]]


def test_another_configuration_of_the_same_day_is_no_part_of_it(tmp_path: Path) -> None:
    grain = ("as_of", "symbol", "product", "side", "parameter", "methodology", "config_hash")
    with Warehouse(path=str(tmp_path / "s.duckdb")).session() as session:
        with session.transaction():
            session.append("recommendation", recommendation("tried", 6000), key=grain)
            session.append("recommendation", recommendation("tried", 6100), key=grain)
            session.append("recommendation", recommendation("used", 7000), key=grain)
            noted(session)
        assert targets(session) == [], "nothing was reported"
        with session.transaction():
            session.insert("report", report(BEFORE, 1, "tried"))
            session.insert("report", report(BEFORE, 2, "used"))
            session.insert("report", report(NOW, 1, "tried"))
            noted(session)
        assert targets(session) == [7000], "the newest report of that day, and none of this one"
