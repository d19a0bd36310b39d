"""plimsoll explain: printed parts sum to the printed total, text and JSON agree, and what is not there is said."""

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project import explain, explain_text
from dagster_project import settings as settings_module
from dagster_project.explain import BrokenSumError, NothingStoredError, Record
from dagster_project.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2022, 5, 31)


@pytest.fixture
def settings(night: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PLIMSOLL_HOME", str(night / "var"))
    return settings_module.load(night / "small.toml")


@pytest.fixture
def found(settings: Settings) -> Record:
    return explain.explain(settings, "AAA", DAY)


def run(night: Path, *words: str) -> tuple[int, str, str]:
    environment = {
        **os.environ,
        "PLIMSOLL_HOME": str(night / "var"),
        "DAGSTER_HOME": str(night / "dagster"),
        "PLIMSOLL_NOW": "2022-07-01T00:30:00",
    }
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.cli", "explain", *words, "--config", str(night / "small.toml")],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").replace("+", ""))


def block(text: str, title: str) -> list[str]:
    """Lines of a table below its title."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(title))
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith("  ")), len(lines))
    return lines[at + 2 : end]


def test_parts_sum_to_the_digits_that_are_printed(found: Record) -> None:
    for one in found["sets"]:
        text = explain_text.render(found | {"sets": [one]})
        rows = [line for line in block(text, "loss budget at") if re.search(r"M-\d+|nothing is lost|target", line)]
        rows = [line for line in rows if "raw beside" not in line and "bad debt" not in line]
        logs, bps, total, start, target = [], [], None, None, None
        for line in rows:
            last = number(line.split()[-1])
            if "nothing is lost" in line:
                start = last
            elif "target" in line:
                target = last
            elif "sum:" in line:
                total = number(line.split()[-4]), last
            else:
                bps.append(last)
                if "%" in line:
                    logs.append(number(line.split()[-4]))
        assert total is not None
        assert start is not None
        assert round(sum(logs), 6) == total[0]
        assert len(logs) == 6
        assert sum(bps[:6]) == total[1]
        assert start + sum(bps) == target == one["budget"]["target_bps"]
        for title in ("horizon, trigger", "oracle error"):
            values = [number(re.findall(r"-?\d+\.\d{4}", line)[0]) for line in block(text, title)]
            assert round(sum(values[:-1]), 4) == values[-1]
        moved = [number(line.split()[-1]) for line in block(text, "attribution")]
        if moved:
            assert (
                round(sum(moved[:-1]), 2)
                == moved[-1]
                == one["attribution"]["after_bps"] - one["attribution"]["before_bps"]
            )


def test_no_line_is_wider_than_a_hundred_columns_or_cut(found: Record) -> None:
    text = explain_text.render(found)
    assert max(len(line) for line in text.splitlines()) <= explain_text.WIDTH
    assert "…" not in text
    assert "\x1b" not in text


def test_values_are_the_store(found: Record, settings: Settings, inputs: object) -> None:
    budgets = inputs.budgets  # type: ignore[attr-defined]
    for one in found["sets"]:
        row = budgets[
            (budgets["symbol"] == "AAA") & (budgets["product"] == one["product"]) & (budgets["side"] == one["side"])
        ].iloc[0]
        assert sum(one["budget"]["parts_log"].values()) == pytest.approx(row["lambda_total"], abs=1e-12)
        assert one["budget"]["raw_log"] == row["lambda_raw"]
        assert one["oracle"]["total"] == row["oracle_error"]
        assert sum(one["horizon"]["parts_hours"].values()) == pytest.approx(row["horizon_hours"], abs=1e-12)
        assert one["move"]["k_low"] < one["move"]["k"] < one["move"]["k_high"]
        same = [
            value["value_bps"]
            for value in one["probabilities"]
            if value["horizon_factor"] == 1 and value["tail_probability"] == 0.01
        ]
        assert same == [one["budget"]["target_bps"]]
        assert (one["tiers"] is None) == (one["product"] == "lending")
        assert (one["cap"] is None) == (one["product"] == "perpetual")


@pytest.mark.parametrize("column", ["lambda_fee", "oracle_error", "slippage_law", "horizon_sale_hours"])
def test_a_sum_that_does_not_hold_is_not_printed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    real = explain.sizes.read

    def broken(*words: object) -> object:
        stored = real(*words)  # type: ignore[arg-type]
        rows = stored.thresholds.assign(**{column: stored.thresholds[column] + 1e-4})
        return explain.sizes.Stored(stored.prices, stored.forecasts, stored.quantiles, rows, stored.outside)

    monkeypatch.setattr(explain.sizes, "read", broken)
    with pytest.raises(BrokenSumError, match="AAA perpetual long"):
        explain.explain(settings, "AAA", DAY, product="perpetual", side="long")


def test_contributions_that_miss_the_change_are_not_printed(settings: Settings) -> None:
    rows = pd.DataFrame(
        {
            "symbol": "AAA",
            "product": "lending",
            "side": "long",
            "driver": ["volatility", "tail"],
            "before_bps": 8300,
            "after_bps": 8250,
            "contribution_bps": [-40.0, -9.0],
        }
    )
    known = explain.Known(None, pd.DataFrame(), {"attributions_of": rows})  # type: ignore[arg-type]
    with pytest.raises(BrokenSumError, match="attribution: parts miss their sum of -50 by 1"):
        explain._attribution("AAA lending long", known, "AAA", "lending", "long")


def test_a_day_that_was_not_run_names_the_command(settings: Settings) -> None:
    with pytest.raises(NothingStoredError, match=r"2022-03-01 .* plimsoll report --config FILE --as-of 2022-03-01"):
        explain.explain(settings, "AAA", date(2022, 3, 1))
    assert explain.explain(settings, "AAA", None)["as_of"] == "2022-05-31"


@pytest.mark.slow
def test_the_command_in_a_pipe(night: Path, tmp_path: Path) -> None:
    code, out, err = run(night, "AAA", "--side", "long", "--product", "lending")
    assert (code, err) == (0, "")
    assert "no challenger has been judged yet" in out or "model risk (M-32): the challenger" in out
    for title in ("M-11", "M-13", "M-14", "M-10", "M-34", "M-29", "M-28", "M-18", "M-31", "binding constraint"):
        assert title in out
    assert "AAA lending short" not in out
    code, out, _ = run(night, "AAA", "--side", "long", "--product", "lending", "--json")
    (one,) = json.loads(out)["sets"]
    assert (code, one["budget"]["parameter"]) == (0, "lt")
    code, _, err = run(night, "CCC")
    assert (code, err) == (2, "plimsoll: 'CCC': markets of this configuration are AAA, BBB\n")
    code, _, err = run(night, "AAA", "--side", "up")
    assert (code, "known are long, short" in err) == (2, True)
    code, _, err = run(night, "AAA", "--as-of", "2022-03-01")
    assert (code, "plimsoll report --config" in err) == (1, True)
