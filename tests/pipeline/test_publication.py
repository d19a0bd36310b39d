"""Publication on a small profile: steps over days, the hold switch, files of values in force."""

import re
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from tests_support import dump, make_profile, noted

import plimsoll
from assets import checks, publication
from benchmarks._small import write
from dagster_project import cli, hold, outcome
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.settings import Settings

DAY = date(2022, 5, 20)
HEADER = "venue,symbol,product,side,parameter,value_bps,read_on,changed_on"
STAGES = (
    "candle",
    "price",
    "volatility_fit",
    "volatility_forecast",
    "fit_reference",
    "overshoot_quantile",
    "threshold",
    "implied_confidence",
    "recommendation",
    "publication",
)
"""What a publication is made from; the report and what it judges cost far more."""
Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: exit code, output and messages."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plimsoll", *map(str, words)])
        monkeypatch.setattr(cli.reports, "show_progress", lambda: None)
        code: Any = 0
        try:
            cli.main()
        except SystemExit as done:
            code = done.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return command


class Desk:
    """A profile whose values in force lie in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> None:
        self.folder, self.file = folder, folder / "in_force.csv"
        make_profile(folder, monkeypatch, candles)
        text = write(folder, candles).read_text()
        for product in ("perpetual", "lending"):
            start = text.index(f"[markets.AAA.{product}.in_force]")
            end = text.index("[markets.", start + 1)
            text = text[:start] + text[end:]
        self.config = folder / "small.toml"
        self.config.write_text(text + f'\n[in_force]\npath = "{self.file}"\n')

    @property
    def settings(self) -> Settings:
        return settings_module.load(self.config)

    def put(self, day: date, changed_on: date | None = None, **values: int) -> None:
        """State the lending set of AAA as read on a day."""
        rows = [HEADER]
        for key, value in values.items():
            rows.append(f"aave_v3,AAA,lending,long,{key},{value},{day},{changed_on or ''}")
        self.file.write_text("\n".join(rows) + "\n")

    def night(self, run: Run, day: date, expected: int = 0, *, is_whole: bool = True) -> pd.DataFrame:
        stages = [] if is_whole else [word for name in STAGES for word in ("--stage", name)]
        code, _, err = run("report", "--config", self.config, "--as-of", day, "--no-mail", *stages)
        assert code == expected, err
        return self.rows(day)

    def rows(self, day: date) -> pd.DataFrame:
        settings = self.settings
        with warehouse_of(settings).session() as session:
            identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
            rows = session.query("publications_of", last=day, **identity)
        assert len(rows)
        return rows.set_index(["symbol", "product", "side", "parameter"])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Desk:
    return Desk(tmp_path, monkeypatch, candles)


LT = ("AAA", "lending", "long", "lt")
LTV = ("AAA", "lending", "long", "ltv")
SET = {"lt": 8300, "ltv": 8000, "bonus": 500}
CHANGED = date(2022, 1, 1)


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def test_a_set_walks_by_steps_and_delays_until_it_stands_at_its_target(desk: Desk, run: Run) -> None:
    desk.put(DAY, changed_on=CHANGED, lt=8850, ltv=8000, bonus=500)
    first = desk.night(run, DAY, is_whole=False)
    lt = first.loc[LT]
    assert (lt["outcome"], lt["status"]) == ("published", "tighten")
    assert (lt["in_force"], lt["published"], lt["target"]) == (8850, 8800, 8800)
    assert (first.loc[LTV, "published"], first.loc[LTV, "target"]) == (7950, first.loc[LTV, "destination"])
    steps = int(8000 - first.loc[LTV, "target"]) // 50
    assert set(first.loc[("AAA", "lending", "long")]["steps"]) == {steps}
    assert lt["converges_on"].date() == after(3 * (steps - 1)), "half a point every three days"
    assert first.loc[LTV, "days_looser"] == 3 * (steps - 1)
    before = dump(desk.settings)
    desk.night(run, DAY, is_whole=False)
    again = dump(desk.settings)
    for table, rows in before.items():
        pd.testing.assert_frame_equal(rows, again[table], obj=table)
    # What was published is carried out, and the file says so: the walk goes on where it was going.
    desk.put(after(1), changed_on=DAY, lt=8800, ltv=7950, bonus=500)
    second = desk.night(run, after(1), is_whole=False)
    assert second.loc[LTV, "outcome"] == "wait"
    assert second.loc[LTV, "reason"].endswith(f"from {after(3)}: last changed {DAY}, 3 days between changes")
    assert pd.isna(second.loc[LTV, "published"])
    assert second.loc[LT, "status"] == "unchanged"
    third = desk.night(run, after(3), is_whole=False)
    assert (third.loc[LTV, "outcome"], third.loc[LTV, "published"]) == ("published", 7900)
    assert third.loc[LTV, "destination"] == first.loc[LTV, "destination"]
    # A rerun of the day before, with the values of that day, gives what the walk gave.
    desk.put(after(1), changed_on=DAY, lt=8800, ltv=7950, bonus=500)
    pd.testing.assert_frame_equal(desk.night(run, after(1), is_whole=False), second)


def test_a_hold_stops_every_publication_until_it_is_released(desk: Desk, run: Run) -> None:
    desk.put(DAY, changed_on=CHANGED, **SET)
    assert run("hold", "--config", desk.config)[:2] == (0, "small: not held\n")
    assert run("hold", "--config", desk.config, "--reason", " ")[0] == 2
    code, out, _ = run("hold", "--config", desk.config, "--reason", "the oracle of AAA is under investigation")
    assert code == 0
    assert "under investigation; release it with: plimsoll hold --release" in out
    held = desk.night(run, DAY, expected=3)
    assert set(held["outcome"]) == set(held["status"]) == {"hold"}
    assert held["published"].isna().all()
    assert held["reason"].str.contains("the oracle of AAA is under investigation").all()
    assert held.loc[LT, "in_force"] == 8300
    found = outcome.summary(desk.settings, DAY)
    assert found.status == "withheld"
    assert "publication_hold failed: held since 2022-07-01 00:30 UTC by " in found.reason
    assert not found.mails
    code, out, _ = run("doctor", "--config", desk.config)
    assert "FAULT publication: held since 2022-07-01 00:30 UTC" in out
    assert run("hold", "--config", desk.config, "--release", "--reason", "both")[0] == 2
    assert run("hold", "--config", desk.config, "--release")[0] == 0
    free = desk.night(run, DAY)
    assert free.loc[LTV, ["outcome", "published"]].tolist() == ["published", 7950]
    found = outcome.summary(desk.settings, DAY)
    assert found.status == "proposed"
    assert len(found.mails) == 2


def test_a_damaged_switch_holds(desk: Desk) -> None:
    hold.hold(desk.settings, "for a test")
    hold.path_of(desk.settings).write_text("{")
    held = hold.current(desk.settings)
    assert held is not None
    assert "damaged" in held.sentence
    assert hold.release(desk.settings) == held
    assert hold.current(desk.settings) is None


def test_the_switch_is_a_job_of_the_user_interface(desk: Desk) -> None:
    def order(**config: object) -> bool:
        asked = {"ops": {"switch": {"config": config}}}
        job = build_defs(desk.settings).resolve_job_def("hold_publication")
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(instance=instance, run_config=asked, raise_on_error=False).success

    assert not order()
    assert order(reason="a venue moved its market", by="desk")
    held = hold.current(desk.settings)
    assert held is not None
    assert (held.reason, held.by) == ("a venue moved its market", "desk")
    assert order(release=True)
    assert hold.current(desk.settings) is None


def test_a_fault_of_the_file_stops_with_its_row(desk: Desk, run: Run) -> None:
    desk.put(DAY, lt=8300, ltv=8000)
    code, _, err = run("report", "--config", desk.config, "--as-of", DAY, "--no-mail")
    assert code == 1
    assert "AAA lending long lacks liquidationBonus" in err
    desk.put(DAY, **SET)
    desk.file.write_text(desk.file.read_text().replace(",8000,", ",0.8,"))
    code, _, err = run("report", "--config", desk.config, "--as-of", DAY, "--no-mail")
    assert code == 1
    assert f"{desk.file}: row 2: column value_bps" in err
    code, out, _ = run("doctor", "--config", desk.config)
    assert code == 1
    assert "FAULT values in force: InForceError" in out
    desk.file.unlink()
    assert "see [in_force] path" in run("report", "--config", desk.config, "--as-of", DAY, "--no-mail")[2]


def test_a_stale_file_warns_and_a_fresh_one_does_not(desk: Desk) -> None:
    desk.put(date(2022, 3, 1), **SET)
    told = checks.doubts(desk.settings, DAY)
    assert told == (
        "3 finding(s): AAA lending long bonus, lt, ltv: "
        "read on 2022-03-01, 80 days before 2022-05-20; at most 30: read it again"
    )
    with warehouse_of(desk.settings).session() as session:
        gates = checks.verify(session, desk.settings, DAY).set_index("name")
    assert gates.loc["in_force_stale"].tolist() == [False, False, told]
    assert gates.loc["publication_hold", "is_passed"]
    desk.put(date(2022, 5, 1), **SET)
    assert checks.doubts(desk.settings, DAY) is None
    desk.put(date(2022, 6, 1), **SET)
    assert "read on 2022-06-01, after 2022-05-20" in str(checks.doubts(desk.settings, DAY))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"published": [7000, 7000, 500]}, "an LTV at the threshold"),
        ({"published": [9600, 7000, 500]}, "threshold and bonus above the collateral"),
        ({"published": [8150, 7950, 500]}, "farther than its destination"),
        ({"published": [8350, 7950, 500]}, "away from its destination"),
        ({"published": [8250, None, 500]}, "half a set"),
        ({"outcome": ["published", "hold", "published"]}, "two outcomes"),
        ({"outcome": ["hold"] * 3}, "held and yet published"),
    ],
)
def test_what_is_published_is_judged_again(desk: Desk, changes: dict[str, list[object]], told: str) -> None:
    sound = {
        "parameter": ["lt", "ltv", "bonus"],
        "outcome": ["published"] * 3,
        "in_force": [8300, 8000, 500],
        "destination": [8200, 7000, 500],
        "published": [8250, 7950, 500],
    }

    def failing(rows: dict[str, list[object]], day: date) -> int:
        frame = pd.DataFrame(rows).assign(
            as_of=pd.Timestamp(day), symbol="AAA", product="lending", side="long", methodology=plimsoll.METHODOLOGY
        )
        frame = frame.assign(config_hash=desk.settings.config_hash, vintage="live", venue="aave_v3", venue_parameter="")
        frame = frame.assign(target=frame["destination"], status="tighten", steps=1, days_looser=0, reason="")
        frame = frame.assign(converges_on=pd.Timestamp(day), input_hash="h")
        for name in ("in_force", "target", "destination", "published"):
            frame[name] = frame[name].astype("Int64")
        with warehouse_of(desk.settings).session() as session:
            with session.transaction():
                session.append("publication", frame, key=publication.KEY)
                noted(session, len(frame))
            return len(checks.failures(session, "publication_invalid_set", desk.settings, day))

    assert failing(sound, DAY) == 0
    assert failing(sound | changes, after(1)) == 1, told
    assert failing(sound, after(1)) == 0, "a better revision mends it"


def test_signatures_and_files_stand_in_no_hash(desk: Desk) -> None:
    desk.put(DAY, **SET)
    before = desk.settings.config_hash
    text = desk.config.read_text()
    signed = (
        '\n[[publication.signed]]\nmarket = "AAA"\nproduct = "lending"\nside = "long"\nparameter = "lt"\n'
        'value = 8600\nby = "risk committee"\non = 2022-05-01\n'
    )
    desk.config.write_text(text.replace("in_force.csv", "other.csv") + signed)
    assert desk.settings.config_hash == before
    desk.config.write_text(text + "\n[publication]\nconfirmation_days = 7\n")
    assert desk.settings.config_hash != before
    for old, new, told in (
        ('"AAA"\nproduct', '"CCC"\nproduct', "no [markets.CCC.lending]"),
        ('parameter = "lt"', 'parameter = "mm"', "no parameter 'mm'; it has lt (liquidationThreshold)"),
    ):
        desk.config.write_text(text + signed.replace(old, new))
        with pytest.raises(settings_module.SettingsError, match=re.escape(told)):
            _ = desk.settings
    desk.config.write_text(text.replace("[markets.BBB.lending]", '[markets.BBB.lending]\nvenue = "aave"'))
    with pytest.raises(settings_module.SettingsError, match=r"markets\.BBB\.lending\.venue 'aave' is unknown.*aave_v3"):
        _ = desk.settings
