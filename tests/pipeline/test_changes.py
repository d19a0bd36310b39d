"""Two methods or configurations compared over one store: what differs is counted, what does not is said in a line."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile, noted

import plimsoll
from dagster_project import changes, cli
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings

LAST = pd.Timestamp("2021-09-30")
DAY = str(LAST.date())
OLDER = "0.9.0"
pytestmark = pytest.mark.slow
Run = Callable[..., tuple[int, str, str]]


class Desk:
    """A profile with variants of its configuration, and what the first comparison said."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.used = folder / "small.toml"
        text = self.used.read_text()
        self.coarse = self._write("coarse.toml", text + "\n[budget]\nlt_grid_bps = 300\n")
        slower = text.replace('name = "simulated"\n', 'name = "simulated"\nbar_close_grace_minutes = 5\n')
        self.slower = self._write("slower.toml", slower)
        self.mailed = self._write("mailed.toml", text.replace("two@example.org", "three@example.org"))
        self.unknown = self._write("unknown.toml", text + "\n[budget]\nlt_grid_bps = 25\n")
        self.stranger = self._write("stranger.toml", text.replace('name = "small"', 'name = "other"'))
        day = LAST.date()
        found = changes.of_configurations((self.used, settings), (self.coarse, settings_module.load(self.coarse)), day)
        assert isinstance(found, changes.Changes)
        self.found = found

    def _write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def rows(self, config: Path) -> pd.DataFrame:
        """Stored thresholds of the compared year under a configuration, by use and day."""
        with warehouse_of(self.settings).session() as session:
            rows = session.everything("threshold")
        config_hash = settings_module.load(config).config_hash
        mine = rows[(rows["config_hash"] == config_hash) & (rows["methodology"] == plimsoll.METHODOLOGY)]
        mine = mine[(mine["as_of"] > LAST - pd.Timedelta(days=365)) & (mine["as_of"] <= LAST)]
        return mine.set_index(["symbol", "product", "side", "as_of"]).sort_index()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("changes")
    with pytest.MonkeyPatch.context() as patch:
        yield Desk(folder, make_profile(folder, patch, candles[candles["date"] <= LAST]))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: exit code, output and messages."""

    def plimsoll_compare(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plimsoll", "compare", *map(str, words)])
        # It takes the place of the log's handlers, which a process with one command leaves to its end.
        monkeypatch.setattr(cli.trials, "show_progress", lambda: None)
        code: Any = 0
        try:
            cli.main()
        except SystemExit as done:
            code = done.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(code or 0), out, err

    return plimsoll_compare


def test_a_knob_that_moves_numbers(desk: Desk) -> None:
    """Counts are those of the stored rows, the knob moves what it should and nothing else, and nobody gets a mail."""
    ours, theirs = desk.rows(desk.used), desk.rows(desk.coarse)
    assert len(ours) == len(theirs) > 1000
    found = desk.found.numbers.set_index(["symbol", "product", "side", "parameter"])
    long = found.loc[("AAA", "lending", "long", "lt")]
    gap = (theirs["lt_bps"] - ours["lt_bps"]).loc[("AAA", "lending", "long")].dropna()
    assert len(gap) > 100
    assert long["days_different"] == (gap != 0).sum() > 0
    assert long["mean_difference"] == pytest.approx(gap.mean())
    assert long["largest_difference"] == gap.min() < 0
    assert long["second_value"] == theirs.loc[("AAA", "lending", "long", LAST), "lt_bps"]
    assert found.xs("perpetual", level="product")["days_different"].eq(0).all()
    assert set(desk.found.budget.loc[desk.found.budget["days_different"] > 0, "product"]) <= {"lending"}
    assert not desk.found.decisions.differing.empty
    assert desk.found.verdict_day == LAST.date()
    out = changes.render(desk.found)
    assert f"first   methodology {plimsoll.METHODOLOGY}, configuration {desk.settings.config_hash} (small.toml)" in out
    assert "parameters that differ, second less first" in out
    assert f"{found['days_different'].eq(0).sum()} others do not differ" in out
    assert not [name for name in files_of(desk.settings) if not name.startswith("raw/")]
    tables = dump(desk.settings)
    assert all(tables[name].empty for name in ("report", "outbox", "recommendation"))


def test_a_knob_that_moves_none_says_so_in_one_line(desk: Desk, run: Run) -> None:
    assert settings_module.load(desk.slower).config_hash != desk.settings.config_hash
    code, out, _ = run("--config", desk.used, "--config", desk.slower, "--as-of", DAY)
    assert code == 0
    head, body = out.split("\n\n", maxsplit=1)
    assert len(head.splitlines()) == 3
    judged = len(dump(desk.settings)["coverage"]) // 3
    days = len(desk.rows(desk.used).loc[("AAA", "lending", "long")])
    assert body == (f"nothing differs: 24 parameters on up to {days} days, {judged} verdicts and 24 decisions\n")


def test_prices_stay_those_of_the_first_configuration(desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second may drop other days of a listing; the night after the comparison must not find its prices."""
    text = desk.used.read_text().replace('name = "Alpha"\n', 'name = "Alpha"\nlisting_days_dropped = 30\n')
    (desk.folder / "listing.toml").write_text(text)
    monkeypatch.setattr(changes, "STAGES", ("candle", "price"))
    before = dump(desk.settings)
    code, _, err = run("--config", desk.used, "--config", desk.folder / "listing.toml", "--as-of", DAY)
    assert code == 2
    assert f"to {DAY} has thresholds of both sides; stored are" in err
    after = dump(desk.settings)
    assert len(after["commit_ledger"]) > len(before["commit_ledger"]), "the other prices were never there"
    pd.testing.assert_frame_equal(after["price"], before["price"])


def test_a_knob_outside_the_hash_is_no_second_side(desk: Desk, run: Run) -> None:
    before = dump(desk.settings)
    code, out, err = run("--config", desk.used, "--config", desk.mailed, "--as-of", DAY)
    assert (code, err) == (0, "")
    assert out.startswith("nothing differs: both sides are methodology")
    assert len(out.splitlines()) == 1
    pd.testing.assert_frame_equal(dump(desk.settings)["commit_ledger"], before["commit_ledger"])
    code, out, _ = run("--config", desk.used, "--config", desk.mailed, "--as-of", DAY, "--json", "-")
    assert (code, json.loads(out)["is_different"], json.loads(out)["numbers"]) == (0, False, [])


def test_what_cannot_be_compared_is_refused(desk: Desk, run: Run) -> None:
    both = ("--config", desk.used, "--config", desk.stranger)
    code, _, err = run(*both, "--as-of", DAY)
    assert code == 2
    assert "'small'" in err
    assert "'other'" in err
    for words in ((), ("--methodology", "1.0.0"), both[:2], (*both, "--methodology", "1.0.0", "--methodology", "2")):
        code, _, err = run(*words)
        assert code == 2
        assert "--config A --config B" in err
    code, _, err = run("--methodology", "1.0.0", "--methodology", plimsoll.METHODOLOGY, "--config", desk.used)
    assert code == 2
    assert "--methodology 1.0.0: not in the store" in err
    assert f"{plimsoll.METHODOLOGY}:{desk.settings.config_hash} (" in err
    assert f"2020-10-08 to {DAY}" in err
    code, _, err = run("--methodology", "1", "--methodology", "2", "--config", desk.stranger)
    assert code == 2
    assert "no store yet" in err


def test_a_side_that_fails_is_named_and_no_operator_hears_of_it(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = desk.folder / "broken.toml"
    text = desk.used.read_text().replace('name = "simulated"', 'name = "elsewhere"')
    broken.write_text(text.replace("[mail]\n", '[mail]\noperators = ["ops@example.org"]\n'))
    code, _, err = run("--config", desk.used, "--config", broken, "--as-of", DAY)
    assert code == 1
    assert f"plimsoll: {broken}: " in err
    assert "elsewhere" in err
    assert not list((settings_module.profile_folder(desk.settings) / "alerts").glob("*.eml"))


def test_an_older_method_is_compared_by_what_it_left(desk: Desk, run: Run) -> None:
    """Rows of the coarse configuration stand in for those of an older version, which had another hash, too."""
    coarse = settings_module.load(desk.coarse).config_hash
    relabelled = LAST - pd.Timedelta(days=10)
    with warehouse_of(desk.settings).session() as session, session.transaction():
        for table in ("threshold", "overshoot_event"):
            rows = session.everything(table)
            day = "as_of" if "as_of" in rows else "target_date"
            rows = rows[(rows["config_hash"] == coarse) & (rows[day] <= relabelled)]
            session.insert(table, rows.assign(methodology=OLDER))
        noted(session)
    words = ("--methodology", OLDER, "--methodology", plimsoll.METHODOLOGY, "--config", desk.used)
    code, out, _ = run(*words, "--json", desk.folder / "compared.json")
    assert code == 0
    assert f"days    2020-09-21 to {relabelled.date()}" in out
    assert f"run plimsoll backtest --as-of {relabelled.date()} and compare again" in out
    assert "differ in the hash of their configuration, too" in out
    told = json.loads((desk.folder / "compared.json").read_text())
    assert told["schema"] == "plimsoll.compare/1"
    assert told["first"] == {"methodology": OLDER, "config_hash": coarse, "label": ""}
    assert told["second"]["config_hash"] == desk.settings.config_hash
    assert (told["is_different"], told["last_day"], told["verdicts"]) == (True, str(relabelled.date()), None)
    ours, theirs = (desk.rows(config)["lt_bps"] for config in (desk.coarse, desk.used))
    gap = (theirs - ours).loc[("AAA", "lending", "long")].dropna()
    gap = gap[gap.index <= relabelled]
    row = next(r for r in told["numbers"] if (r["symbol"], r["side"], r["parameter"]) == ("AAA", "long", "lt"))
    assert row["days_different"] == (gap != 0).sum() > 0
    assert np.isclose(row["mean_difference"], gap.mean())
    short = f"{plimsoll.METHODOLOGY}:{coarse[:8]}"
    code, out, _ = run("--methodology", OLDER, "--methodology", short, "--config", desk.used)
    assert code == 0
    assert "nothing differs: 24 parameters" in out
    code, _, err = run("--methodology", OLDER, "--methodology", plimsoll.METHODOLOGY, "--config", desk.unknown)
    assert code == 2
    assert f"name one as VERSION:HASH. Stored are {plimsoll.METHODOLOGY}:" in err
