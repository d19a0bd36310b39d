"""The command line under bad data and bad words: a message that names the fault, or a labelled result; no traceback."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from benchmarks._small import CONFIG, simulated_candles

DAY = "2022-05-31"
ROOT = Path(__file__).resolve().parents[2]


class Desk:
    """A folder of its own with a configuration, candles and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "small.toml"
        self.candles = folder / "candles.parquet"
        self.config.write_text(CONFIG.format(path=self.candles))

    def write(self, frame: pd.DataFrame) -> None:
        frame.to_parquet(self.candles, index=False)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "PLIMSOLL_HOME": str(self.folder / "var"),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "PLIMSOLL_NOW": "2022-07-01T00:30:00",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "dagster_project.cli", *words],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in out + err, err
        assert "DagsterExecution" not in err
        return process.returncode, out, err

    def report(self, *words: str) -> tuple[int, str, str]:
        return self.run("report", "--config", str(self.config), "--as-of", DAY, *words)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def _refused(found: tuple[int, str, str], *words: str, code: int | None = None) -> None:
    assert found[0] == code if code is not None else found[0] in (1, 2), found
    for word in words:
        assert word in found[2], found[2]
    last = found[2].strip().splitlines()[-1]
    assert last.startswith("plimsoll: ") or any(line.startswith("plimsoll: ") for line in found[2].splitlines())


def test_a_missing_candle_file(desk: Desk) -> None:
    _refused(desk.report("--candles", str(desk.folder / "no.parquet")), "no.parquet", "no such file", code=2)


def test_a_missing_configuration(desk: Desk) -> None:
    _refused(desk.run("report", "--config", str(desk.folder / "no.toml")), "no.toml", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "--as-of", "yesterday"], "write it as 2018-12-31"),
        (["report", "--as-of", "1999-01-01"], "covers"),
        (["report", "--nonsense"], "nonsense"),
        (["bench", "nothing"], "known are"),
        (["sail"], "sail"),
    ],
)
def test_words_that_make_no_sense(desk: Desk, words: list[str], said: str) -> None:
    extra = ["--config", str(desk.config)] if "--as-of" in words else []
    _refused(desk.run(*words, *extra), said, code=2)


def test_ltv_above_the_threshold_in_a_configuration(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text().replace("ltv_bps = 8000", "ltv_bps = 8400"))
    _refused(desk.report(), "small.toml", "markets.AAA.lending.in_force", "8400", code=2)


def test_an_empty_folder(desk: Desk) -> None:
    empty = desk.folder / "empty"
    empty.mkdir()
    _refused(desk.report("--candles", str(empty)), str(empty))


def test_an_unknown_symbol(desk: Desk, candles: pd.DataFrame) -> None:
    desk.write(candles[candles["symbol"] == "AAA"].assign(symbol="CCC"))
    _refused(desk.report(), "AAA", "CCC", str(desk.candles))


def test_wrong_columns(desk: Desk, candles: pd.DataFrame) -> None:
    desk.write(candles.drop(columns=["close"]))
    _refused(desk.report(), "close", str(desk.candles))


def _decision(desk: Desk) -> dict[str, object]:
    path = desk.folder / "var" / "small" / "reports" / DAY / "decision.json"
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_rows_that_are_no_bars_are_labelled_and_the_rest_stands(desk: Desk, candles: pd.DataFrame) -> None:
    """NaN, a zero price, a day with two values and a gap, each on a day of its own."""
    rows = candles.copy()

    def at(day: str, symbol: str = "AAA") -> pd.Series:
        return (rows["date"] == pd.Timestamp(day)) & (rows["symbol"] == symbol)

    rows.loc[at("2022-03-01"), "close"] = np.nan
    rows.loc[at("2022-03-03"), "low"] = 0.0
    double = rows[at("2022-03-05")].assign(close=lambda f: f["close"] * 1.001, high=lambda f: f["high"] * 1.01)
    rows = pd.concat([rows[~at("2022-03-09")], double], ignore_index=True)
    desk.write(rows)
    code, out, err = desk.report()
    assert code == 0, err
    assert "report " in out
    pages = PdfReader(desk.folder / "var" / "small" / "reports" / DAY / "report.pdf").pages
    text = "\n".join(page.extract_text() for page in pages)
    for day in ("2022-03-01", "2022-03-03", "2022-03-05"):
        assert re.search(rf"{day}\s+AAA", text), f"{day} must stand among the rows set aside"
    assert re.search(r"gap\(s\)", text)


@pytest.mark.slow
def test_a_constant_market_and_forty_days_are_withheld_by_name(desk: Desk) -> None:
    still = simulated_candles("AAA", 3)
    prices = ["open", "high", "low", "close"]
    still[prices] = 100.0
    young = simulated_candles("BBB", 4).tail(40)
    desk.write(pd.concat([still, young], ignore_index=True))
    code, out, err = desk.report()
    assert code == 0, err
    rows = _decision(desk)["recommendations"]
    assert isinstance(rows, list)
    for symbol in ("AAA", "BBB"):
        mine = [row for row in rows if row["symbol"] == symbol]
        assert {row["status"] for row in mine} == {"withheld"}, symbol
        assert all(row["proposed"] is None for row in mine)
    assert any("not enough data" in row["reason"] for row in rows if row["symbol"] == "BBB")
    assert "withhold" in out.lower()


@pytest.mark.slow
def test_a_second_run_waits_for_the_one_that_writes(desk: Desk, candles: pd.DataFrame) -> None:
    desk.write(candles)
    words = ("report", "--config", str(desk.config), "--as-of", DAY)
    both = [desk.start(*words), desk.start(*words)]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], [err for _, err in ends]
    assert not any("Traceback" in err for _, err in ends)
    assert len(list((desk.folder / "var/small/outbox").glob("*.eml"))) == 2


def test_many_first_runs_at_once_make_one_history(tmp_path: Path) -> None:
    code = "from dagster_project import history\nwith history.opened() as opened: assert opened.get_runs() == []"
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "dagster")}
    many = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [process.communicate(timeout=120)[1] for process in many]
    assert [process.returncode for process in many] == [0] * 6, told


def test_a_store_held_by_another_is_named_after_the_wait(
    desk: Desk, candles: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(candles)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from dagster_project.warehouse import Warehouse\n"
            "with Warehouse(path=sys.argv[1]).session():\n"
            "    print('held', flush=True)\n"
            "    time.sleep(120)\n",
            str(desk.folder / "var" / "small" / "plimsoll.duckdb"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setenv("PLIMSOLL_LOCK_WAIT_SECONDS", "1")
        _refused(desk.report(), f"held by process {holder.pid}", "run again", code=1)
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.slow
def test_progress_is_plain_lines_in_a_pipe(desk: Desk, candles: pd.DataFrame) -> None:
    desk.write(candles)
    code, out, err = desk.report()
    assert code == 0
    assert "\x1b" not in out + err
    assert "\r" not in out + err
    stages = [line.split()[1] for line in err.splitlines() if line.startswith("done ")]
    assert stages[0] == "candles"
    assert stages[-2:] == ["mail", "backup"]
    for label in ("report", "json", "mail"):
        found = re.search(rf"^{label}\s+(\S+)$", out, re.M)
        assert found
        assert (ROOT / found[1]).exists()


@pytest.mark.slow
def test_backtest_prints_the_table_and_its_json(desk: Desk, candles: pd.DataFrame) -> None:
    desk.write(candles)
    code, out, err = desk.run("backtest", "--config", str(desk.config), "--as-of", DAY, "--json", "-")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    pooled = [row for row in rows if row["scope"] == "POOLED" and row["model"] == "estimator"]
    assert {(row["side"], row["tail_probability_bps"]) for row in pooled} >= {("long", 500), ("short", 100)}
    code, out, err = desk.run("backtest", "--config", str(desk.config), "--as-of", DAY)
    assert code == 0, err
    assert "24-hour calibration given a trigger" in out
    assert "…" not in out, "nothing is cut"


def test_doctor_and_outbox_of_an_empty_place(desk: Desk) -> None:
    code, out, err = desk.run("doctor", "--config", str(desk.config))
    assert code == 0, out + err
    assert out.count("ok  ") == 14
    code, out, _ = desk.run("outbox", "list", "--config", str(desk.config))
    assert (code, out) == (0, "no mail yet\n")


@pytest.mark.parametrize("word", [[], ["--help"], ["report", "--help"], ["outbox"]])
def test_help_needs_nothing(desk: Desk, word: list[str]) -> None:
    code, out, err = desk.run(*word)
    assert code in (0, 2)
    assert "Usage" in out + err
