"""Audit of feeds: the command on made files, in a pipe, and on files that are none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.feeds_audit import venues_of
from dagster_project.feeds_files import AuditError

ROOT = Path(__file__).resolve().parents[2]
DAYS = 150
HEAD = "symbol,source,freq,start,end,kind,detail"


def candles() -> pd.DataFrame:
    """Two coins on two exchanges; a bad tick, a real wick on both, and two days missing."""
    parts = []
    for symbol, seed in (("AAA", 1), ("BBB", 2)):
        rng = np.random.default_rng(seed)
        close = np.exp(np.cumsum(rng.normal(0, 0.02, DAYS)))
        opening = np.concatenate([[1.0], close[:-1]])
        for source in ("one", "two"):
            frame = pd.DataFrame(
                {"date": pd.date_range("2021-01-01", periods=DAYS), "symbol": symbol, "source": source}
            )
            frame["open"], frame["close"] = opening, close
            frame["high"], frame["low"] = np.maximum(opening, close) * 1.01, np.minimum(opening, close) * 0.99
            frame["volume"], frame["volume_unit"] = 1000.0, "base"
            parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    at = {(r.symbol, r.source, str(r.date)[5:10]): r.Index for r in whole.itertuples()}
    whole.loc[at["AAA", "one", "04-10"], "low"] *= 0.3
    whole.loc[[at["BBB", "one", "04-20"], at["BBB", "two", "04-20"]], "low"] *= 0.4
    return whole.drop(index=[at["BBB", "one", "05-01"], at["BBB", "one", "05-02"]])


LABELS = [
    "AAA,one,1d,2021-04-10 00:00:00,2021-04-10 00:00:00,extreme_low_wick,nobody else",
    '"BBB,CCC",*,1d,2021-04-20,2021-04-20,extreme_low_wick,both venues',
    "BBB,one,1d,2021-05-01,2021-05-02,missing_bars,2 days",
    "AAA,one,1h,2021-05-01,2021-05-02,missing_bars,hours",
    "ZZZ,one,1d,2021-05-01,2021-05-02,missing_bars,no such coin",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    candles().to_parquet(tmp_path / "c.parquet", index=False)
    candles().to_csv(tmp_path / "c.csv.gz", index=False)
    (tmp_path / "plain.csv").write_text("\n".join([HEAD, *LABELS]) + "\n")
    marks = ["true", "false", "true", "true", "true"]
    marked = [f"{line},{mark}" for line, mark in zip(LABELS, marks, strict=True)]
    (tmp_path / "marked.csv").write_text("\n".join([f"{HEAD},is_error", *marked]) + "\n")
    return tmp_path


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["feeds", "audit", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def figures(*words: object) -> dict:  # type: ignore[type-arg]
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["c.parquet", "c.csv.gz"])
def test_marked_labels_are_counted(folder: Path, name: str) -> None:
    found = figures("--candles", folder / name, "--truth", folder / "marked.csv")
    kinds = {one["kind"]: one for one in found["kinds"]}
    assert set(kinds) == {"bad_tick", "missing_days"}
    assert (kinds["bad_tick"]["labels"], kinds["bad_tick"]["recall"], kinds["bad_tick"]["precision"]) == (1, 1.0, 1.0)
    assert (kinds["missing_days"]["labels"], kinds["missing_days"]["recall"]) == (1, 1.0)
    assert found["real_events"] == {"labels": 1, "kept": 1}
    assert found["not_judged"] == {"another frequency than 1d": 1, "no such series in the candles": 1}
    assert found["false_rejections"] == 0
    assert all(found["checks"].values())


def test_a_rejection_that_no_label_explains_is_false(folder: Path) -> None:
    (folder / "none.csv").write_text(f"{HEAD},is_error\n{LABELS[2]},true\n")
    found = figures("--candles", folder / "c.parquet", "--truth", folder / "none.csv")
    assert found["false_rejections"] == 1
    assert found["checks"]["false_rejections"] is False
    assert "AAA one 2021-04-10 bad_tick" in found["unexplained"][0]


def test_a_label_that_is_not_found_is_missed(folder: Path) -> None:
    (folder / "more.csv").write_text(f"{HEAD}\nBBB,two,1d,2021-03-03,2021-03-03,partial_candle,x\n")
    found = figures("--candles", folder / "c.parquet", "--truth", folder / "more.csv")
    part = next(one for one in found["kinds"] if one["kind"] == "part_day")
    assert (part["labels"], part["found"], part["recall"], part["precision"]) == (1, 0, 0.0, None)
    assert found["missed"] == ["BBB two 2021-03-03 partial_candle: x"]
    assert found["checks"]["recall"] is False


def test_without_marks_the_table_says_how_each_kind_is_judged(folder: Path) -> None:
    code, out, _ = run("--candles", folder / "c.parquet", "--truth", folder / "plain.csv")
    assert code == 0
    assert "no column is_error; errors: " in out
    assert "not judged: close_spike_reverts, extreme_high_wick, extreme_low_wick" in out
    assert "2 (extreme_low_wick: error or real event, the label does not say)" in out
    assert "false rejections: 0 (0.00 per 2,000 good bars)" in out


def test_faults_are_put_in_by_seed(folder: Path) -> None:
    first = figures("--candles", folder / "c.parquet", "--inject", 2, "--seed", 4)
    assert first == figures("--candles", folder / "c.parquet", "--inject", 2, "--seed", 4)
    assert first["put_in"]["missing_days"] == 2
    assert {one["kind"] for one in first["kinds"]} == set(first["put_in"])
    assert first["rejected_before"] == 1
    code, out, _ = run("--candles", folder / "c.parquet", "--inject", 2)
    assert code == 0
    assert "seed 1; put in: bad_tick 2" in out


def test_volume_may_be_absent(folder: Path) -> None:
    candles().drop(columns=["volume", "volume_unit"]).to_csv(folder / "bare.csv", index=False)
    found = figures("--candles", folder / "bare.csv", "--truth", folder / "marked.csv")
    assert found["false_rejections"] == 0
    assert all(found["checks"].values())


def test_rows_that_cannot_be_read_are_named_and_not_lost(folder: Path) -> None:
    rows = candles().astype(object)
    rows.iloc[3, rows.columns.get_loc("close")] = "1,234.5"
    rows.iloc[5, rows.columns.get_loc("high")], rows.iloc[5, rows.columns.get_loc("low")] = rows.iloc[5][
        ["low", "high"]
    ]
    rows.to_csv(folder / "dirty.csv", index=False)
    (folder / "t.csv").write_text(f"{HEAD}\nAAA,one,1d,2021-01-06,2021-01-06,columns_swapped,x\n")
    found = figures("--candles", folder / "dirty.csv", "--truth", folder / "t.csv")
    kinds = {one["kind"]: one["found"] for one in found["kinds"]}
    assert kinds["swapped_columns"] == 1
    assert any("'1,234.5' is no number" in one for one in found["unexplained"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", None, "no such file"),
        ("x.txt", "a", "not .csv, .csv.gz or .parquet"),
        ("x.csv", "", "not a comma-separated UTF-8 file"),
        (
            "x.csv",
            "date,symbol\n2020-01-01,A\n",
            "column(s) source, open, high, low, close missing; found date, symbol",
        ),
        ("x.csv", "date,symbol,source,open,high,low,close\n", "no rows"),
        ("x.csv", "date,symbol,source,open,high,low,close\nyesterday,A,b,1,1,1,1\n", "column date: no row holds a day"),
        ("x.csv", "date,symbol,source,open,high,low,close\n2020-01-01,A,,1,1,1,1\n", "row 1: column source is empty"),
        ("x.csv", "date,symbol,source,open,high,low,close\n2020-01-01,Ä B,b,1,1,1,1\n", "row 1: column symbol: 'Ä B'"),
        ("x.parquet", "no parquet", "not a readable Parquet file"),
        ("x.csv.gz", "no gzip", "damaged gzip"),
    ],
)
def test_a_candle_file_that_is_none_is_refused_in_one_line(
    folder: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (folder / name).write_text(text, encoding="utf-8")
    code, out, err = run("--candles", folder / name, "--truth", folder / "plain.csv")
    assert (code, out) == (2, "")
    assert words in err
    assert str(folder / name) in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,kind\n", "column(s) source, freq, start, end, detail missing"),
        (f"{HEAD}\nA,b,1d,tomorrow,,bad_tick,x\n", "row 1: column start: 'tomorrow' is no day"),
        (f"{HEAD}\nA,b,1d,2020-01-02,2020-01-01,bad_tick,x\n", "row 1: end lies before start"),
        (f"{HEAD}\nA,b,1d,2020-01-02,,,x\n", "row 1: column kind is empty"),
        (f"{HEAD},is_error\nA,b,1d,2020-01-02,,bad_tick,x,perhaps\n", "row 1: column is_error: 'perhaps'"),
    ],
)
def test_labels_that_are_none_are_refused_with_their_row(folder: Path, text: str, words: str) -> None:
    (folder / "bad.csv").write_text(text)
    code, _, err = run("--candles", folder / "c.parquet", "--truth", folder / "bad.csv")
    assert code == 2
    assert words in err


def test_exactly_one_measure_is_asked_for(folder: Path) -> None:
    for words in ([], ["--truth", folder / "plain.csv", "--inject", 3]):
        code, _, err = run("--candles", folder / "c.parquet", *words)
        assert code == 2
        assert "name one of --truth FILE" in err


def test_venues_are_as_said_or_the_beginning_of_the_name() -> None:
    names = ["big_spot", "big_perp", "small"]
    assert venues_of(names, []) == {"big_spot": "big", "big_perp": "big", "small": "small"}
    assert venues_of(names, ["small=big"])["small"] == "big"
    for word in ("small", "other=big", "small="):
        with pytest.raises(AuditError, match="write SOURCE=VENUE"):
            venues_of(names, [word])


def test_in_a_pipe_the_table_is_plain_text(folder: Path) -> None:
    words = ["feeds", "audit", "--candles", str(folder / "c.parquet"), "--truth", str(folder / "marked.csv")]
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "bad_tick" in done.stdout
