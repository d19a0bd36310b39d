"""Days run again, ranges and single stages: the same rows, and nobody is mailed what is not for him."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from faults_support import Commands, Night, Told
from operations_support import OPERATOR, Place, copied

from benchmarks._mail_server import Server, serve
from dagster_project import files, outbox

A, B, C = "2022-03-13", "2022-03-14", "2022-03-15"
ONE, TWO, THREE = "one@example.org", "two@example.org", "three@example.org"
pytestmark = pytest.mark.slow
Lay = Callable[[], tuple[Place, Server]]
BEFORE_REPORT = ("candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile")
BEFORE_REPORT += ("threshold", "breach", "coverage", "recommendation")
BY_VINTAGE = ("decision_id", "pdf_sha256", "json_sha256")
"""A forecast is live only if its own night made it, so that a day within a range counts as reconstructed."""
KNOB = ("minimum_triggers = 60", "minimum_triggers = 61")


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def singles(
    tmp_path_factory: pytest.TempPathFactory, plimsoll: Commands, calm: Night, post: Server
) -> tuple[Place, list[str]]:
    """Three nights, one after the other; and who was mailed by the last two."""
    place = copied(calm, tmp_path_factory.mktemp("singles"), plimsoll, more=post.table())
    for day in (B, C):
        told = place("report", "--as-of", day)
        assert told.code == 0, told.err
    return place, [to for to, _ in post.box.mails]


@pytest.fixture
def lay(singles: tuple[Place, list[str]], tmp_path: Path, plimsoll: Commands, calm: Night) -> Iterator[Lay]:
    """Lay down a copy of the three nights, with a server of its own."""
    night = Night(C, singles[0].folder, {}, {})
    with serve(tmp_path / "server") as server:

        def put() -> tuple[Place, Server]:
            return copied(night, tmp_path / "place", plimsoll, more=server.table(), source=calm.folder), server

        yield put


def stages_of(told: Told) -> list[str]:
    return [line.split()[1] for line in told.err.splitlines() if line.startswith("done ")]


def read(place: Place) -> dict[str, bytes]:
    parts = [place.profile / name for name in ("reports", "raw")]
    return {str(p.relative_to(place.profile)): p.read_bytes() for part in parts for p in part.rglob("*") if p.is_file()}


def decided(found: dict[str, bytes]) -> dict[str, object]:
    """What was received and decided, without the ids of decisions; the other files count forecasts by vintage."""
    kept: dict[str, object] = {name: content for name, content in found.items() if name.endswith((".csv", ".gz"))}
    for name, content in found.items():
        if name.endswith("decision.json"):
            kept[name] = {key: value for key, value in json.loads(content).items() if key != "decision_id"}
    assert len({Path(name).parent for name in kept}) >= 7
    return kept


def test_a_range_in_one_run_equals_its_nights_and_mails_the_newest_alone(
    singles: tuple[Place, list[str]], tmp_path: Path, plimsoll: Commands, calm: Night
) -> None:
    nights, readers = singles
    assert sorted(readers) == sorted([ONE, TWO] * 3), "the two that waited from before the server was named, too"
    with serve(tmp_path / "server") as server:
        place = copied(calm, tmp_path / "place", plimsoll, more=server.table())
        told = place("report", "--from", B, "--as-of", C)
        assert told.code == 0, told.err
        assert f"plimsoll small: nightly for {B} to {C}\n" in told.err
        assert stages_of(told).count("report") == 1
        assert list(place.reports(B)["status"]) == ["proposed"]
        found, expected = place.tables(), nights.tables()
        for table, rows in expected.items():
            if table not in ("outbox", "commit_ledger"):
                drop = list(BY_VINTAGE) if table == "report" else []
                pd.testing.assert_frame_equal(found[table].drop(columns=drop), rows.drop(columns=drop), obj=table)
        assert decided(read(place)) == decided(read(nights))
        assert read(place)[f"reports/{C}/decision.json"] == read(nights)[f"reports/{C}/decision.json"]
        assert list(place.mails(B)["recipient"]) == []
        assert list(place.mails(C)["state"]) == ["accepted", "accepted"]
        assert server.box.twice() == []
        subjects = [str(server.box.parsed(n)["Subject"]) for n in range(len(server.box.mails))]
        assert not any(B in subject for subject in subjects)


def test_catching_up_begins_after_the_newest_report(lay: Lay) -> None:
    place, _ = lay()
    told = place("report", "--catch-up", "--as-of", "2022-03-18", "--stage", "candle")
    assert (told.code, "nightly for 2022-03-16 to 2022-03-18\n" in told.err) == (0, True), told.err
    assert stages_of(told) == ["candles"]
    told = place("report", "--catch-up", "--as-of", C, "--stage", "candle")
    assert (told.code, f"nightly for {C}\n" in told.err) == (0, True), "a day that has its report is run again alone"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", C, "--as-of", B), f"--from {C}: after --as-of {B}"),
        (("--from", B, "--catch-up"), "--from and --catch-up: name the first day, or let it be found, not both"),
        (("--from", "soon"), "--from 'soon': not a day; write it as 2018-12-31"),
        (("--from", "1999-01-01"), "--from 1999-01-01: profile 'small' covers 2020-01-01 to 2022-06-30"),
        (("--stage", "risk_report", "--stage", "bilge"), "--stage bilge: stages are "),
    ],
)
def test_words_that_contradict_each_other(lay: Lay, words: tuple[str, ...], said: str) -> None:
    place, _ = lay()
    told = place("report", *words)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"plimsoll: {said}")
    assert told.err.count("\n") == 1


def test_the_report_alone_runs_one_stage_and_writes_nothing_new(lay: Lay) -> None:
    place, server = lay()
    rows, kept = place.tables(), read(place)
    told = place("report", "--as-of", C, "--stage", "risk_report")
    assert told.code == 0, told.err
    assert stages_of(told) == ["report"]
    assert f"report  {place.profile}/reports/{C}/report.pdf" in told.out
    for table, before in rows.items():
        pd.testing.assert_frame_equal(place.tables()[table], before, obj=table)
    assert read(place) == kept
    assert server.box.mails == []


def test_a_report_alone_after_a_gate_failed_is_withheld_mailed_to_nobody_and_told(lay: Lay) -> None:
    """The gates are asked of the store as it is now; what an earlier run recorded about them counts for nothing."""
    place, server = lay()
    invite(place, server)
    server.script.rcpt = {THREE: ["451 4.7.1 come back"]}
    assert place("report", "--as-of", C, "--stage", "delivery").code == 0
    with duckdb.connect(str(place.profile / "plimsoll.duckdb")) as connection:
        connection.execute(f"update threshold set ltv_bps = lt_bps where as_of = '{C}' and symbol = 'AAA'")
    told = place("report", "--as-of", C, "--stage", "risk_report", "--stage", "delivery")
    assert told.code == 3, told.err
    assert "check threshold_invalid_set failed: 1 row(s), first: as_of 2022-03-15" in told.out
    reports = place.reports(C)
    assert list(reports["status"]) == ["proposed", "withheld"]
    assert "threshold_invalid_set" in (place.profile / "reports" / C / "decision.json").read_text()
    assert [to for to, _ in server.box.mails] == [OPERATOR]
    alert = server.box.parsed(0)
    assert str(alert["Subject"]).startswith("[plimsoll] WITHHELD small: ")
    assert "threshold_invalid_set" in alert.get_content()
    mails = place.mails(C)
    assert set(mails["revision"]) == {1}
    states = {ONE: "accepted", TWO: "accepted", THREE: "cancelled"}
    assert dict(mails.set_index("recipient")["state"]) == states, "what waited of the revision before is not sent"
    assert place("report", "--as-of", C, "--stage", "delivery").code == 0
    assert [to for to, _ in server.box.mails] == [OPERATOR], "told once"


def test_a_market_without_its_bar_is_told_to_the_operators_alone(lay: Lay, candles: pd.DataFrame) -> None:
    place, server = lay()
    day = "2022-06-01"
    path = place.folder / "late.parquet"
    last = candles[candles["symbol"] == "AAA"].tail(1)
    # The bar before once more would be refused as that.
    prices = {name: last[name] * 1.001 for name in ("open", "high", "low", "close")}
    punctual = last.assign(date=pd.Timestamp(day), **prices)
    pd.concat([candles, punctual], ignore_index=True).to_parquet(path, index=False)
    chosen = [word for stage in BEFORE_REPORT for word in ("--stage", stage)]
    told = place("report", "--as-of", day, "--candles", str(path), *chosen)
    assert told.code == 0, told.err
    for _ in range(2):
        assert place("report", "--as-of", day, "--stage", "delivery").code == 0
        assert mailed(server) == [OPERATOR], "told once"
    alert = server.box.parsed(0)
    assert alert["Subject"] == f"[plimsoll] STALE small: 1 market(s) stale · {day}"
    assert f"BBB: stale data: the last bar is 2022-05-31, a bar of {day} was due" in " ".join(
        alert.get_content().split()
    )
    assert "AAA" not in alert.get_content()


def invite(place: Place, server: Server, *changes: tuple[str, str]) -> None:
    """Name a third reader, to whom nothing was mailed yet."""
    place.configure((f'"{TWO}"]', f'"{TWO}", "{THREE}"]'), *changes, more=server.table())


def mailed(server: Server) -> list[str]:
    return [to for to, _ in server.box.mails]


def test_past_days_and_runs_without_mail(lay: Lay) -> None:
    place, server = lay()
    invite(place, server)
    deliver = ("report", "--as-of", B, "--stage", "delivery")
    assert place(*deliver).code == 0
    assert THREE not in set(place.mails(B)["recipient"]), "a day that is no longer the newest is history"
    assert place(*deliver, "--send-past", "--no-mail").code == 0
    rows = place.mails(B).set_index("recipient")
    assert dict(rows["state"]) == {ONE: "accepted", TWO: "accepted", THREE: "pending"}
    assert (place.profile / rows.loc[THREE, "eml_path"]).is_file()
    assert mailed(server) == []
    assert place(*deliver).code == 0
    assert mailed(server) == [THREE]
    assert B in str(server.box.parsed(0)["Subject"])
    assert place("report", "--as-of", C, "--stage", "delivery").code == 0
    assert mailed(server) == [THREE, THREE], "the newest day needs no asking"


def test_an_old_day_under_another_configuration_is_a_new_revision_mailed_only_when_asked(lay: Lay) -> None:
    place, server = lay()
    invite(place, server)
    server.script.rcpt = {THREE: ["451 4.7.1 come back"]}
    assert place("report", "--as-of", B, "--stage", "delivery", "--send-past").code == 0
    assert dict(place.mails(B).set_index("recipient")["state"])[THREE] == "deferred"
    before, kept, late = place.reports(B), read(place), place.reports(C)
    first = place.mails(B)

    invite(place, server, KNOB)
    told = place("report", "--as-of", B)
    assert told.code == 0, told.err
    reports = place.reports(B)
    assert list(reports["revision"]) == [1, 2]
    assert reports["config_hash"].nunique() == reports["decision_id"].nunique() == 2
    pd.testing.assert_frame_equal(reports.head(1), before)
    pd.testing.assert_frame_equal(place.reports(C), late)
    found = read(place)
    old, new = f"reports/{B}/revision-1/", f"reports/{B}/revision-2/"
    assert {name: found[name] for name in kept if not is_newest_of(B, name)} == {
        name: content for name, content in kept.items() if not is_newest_of(B, name)
    }
    for name in ("report.pdf", "decision.json"):
        assert found[f"reports/{B}/{name}"] == found[new + name] != found[old + name]
    assert files.sha256(found[old + "report.pdf"]) == reports["pdf_sha256"].iloc[0]

    # Who had the first one gets nothing unasked; what still waited of it gives way.
    rows = place.mails(B).set_index(["recipient", "revision"]).sort_index()
    assert dict(rows["state"]) == {
        (ONE, 1): "accepted",
        (TWO, 1): "accepted",
        (THREE, 1): "cancelled",
        (THREE, 2): "accepted",
    }
    assert rows.loc[(THREE, 1), "last_reply"] == outbox.SUPERSEDED
    assert mailed(server) == [THREE]
    assert "CORRECTION" not in str(server.box.parsed(0)["Subject"]), "to that reader it is the first"

    deliver = ("report", "--as-of", B, "--stage", "delivery", "--send-corrections")
    for _ in range(2):
        assert place(*deliver).code == 0
        assert mailed(server) == [THREE, ONE, TWO]
    for number, recipient in ((1, ONE), (2, TWO)):
        sent = server.box.parsed(number)
        assert "CORRECTION 2" in str(sent["Subject"])
        assert sent["References"] == first.set_index("recipient").loc[recipient, "message_id"]


def is_newest_of(day: str, name: str) -> bool:
    return name.startswith(f"reports/{day}/") and name.count("/") == 2
