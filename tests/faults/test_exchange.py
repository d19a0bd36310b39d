"""Exchanges: the true ccxt client asks a server on loopback that is late, busy, away or broken."""

import gzip
import json
import logging
import socket
import ssl
import time
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import trustme
from faults.exchange_server import (
    DAY,
    END,
    FIRST,
    GRACE,
    Act,
    Exchange,
    closed_port,
    configured,
    deaf,
    exchange,
    fetch,
    limited,
    one,
    same,
    venue,
)

from dagster_project.exchanges import feed, history
from dagster_project.exchanges.client import Client, OutOfReachError, retry_after
from dagster_project.exchanges.wire import Answer, _Watch
from dagster_project.market_feed import FeedError

DIALECTS = ("binance spot", "binance perpetual", "kraken spot")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pages_are_asked_for_until_the_last_closed_candle(there: Exchange, hundred: pd.DataFrame, dialect: str) -> None:
    there.page = 30
    found = fetch(one(there, dialect))
    assert same(found, hundred)
    assert [len(page.frame) for page in found.pages] == [30, 29, 29, 12]
    assert found.gaps == ()
    about = found.candles.iloc[-1]
    assert (about["venue"], about["product"], about["symbol"]) == (*dialect.split(), "AAA")
    assert about["known_at"] == pd.Timestamp("2020-10-09 00:40")
    assert about["volume_unit"] == "base"
    assert len(there.candle_requests()) == 4


def test_hourly_candles_come_the_same_way(there: Exchange, hundred: pd.DataFrame) -> None:
    hours = hundred.assign(date=lambda f: f.groupby("symbol").cumcount() * pd.Timedelta(hours=1) + FIRST)
    there.put(hours, step=DAY // 24)
    there.page = 40
    found = fetch(one(there, "kraken spot"), "1h", until=FIRST + pd.Timedelta(hours=90))
    assert same(found, hours[hours["date"] < FIRST + pd.Timedelta(hours=90)])
    assert set(found.candles["timeframe"]) == {"1h"}


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2020-10-08T23:59:59", "2020-10-07"),
        ("2020-10-09T00:29:59", "2020-10-07"),
        ("2020-10-09T00:30:00", "2020-10-08"),
    ],
)
def test_a_candle_that_is_not_over_and_settled_is_left_out(
    there: Exchange, monkeypatch: pytest.MonkeyPatch, now: str, last: str
) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", now)
    found = fetch(one(there), until=pd.Timestamp("2021-01-01"))
    assert found.candles["date"].max() == pd.Timestamp(last)


def test_only_what_is_new_is_asked_for_and_the_newest_days_again(there: Exchange, hundred: pd.DataFrame) -> None:
    chosen = one(there)
    source = chosen.source.model_copy(update={"overlap_days": 10})
    chosen = chosen.model_copy(update={"source": source})
    known = {("binance_spot", "AAA"): date(2020, 10, 7), ("binance_spot", "BBB"): date(2020, 10, 8)}
    (raw,), troubles = feed.read(chosen, known, date(2020, 10, 8))
    assert troubles == []
    assert raw.origin == "binance_spot AAA 1d 2020-09-27T00:00..2020-10-08T00:00 AAAUSDT"
    (asked,) = there.candle_requests()
    assert asked["symbol"] == "AAAUSDT"
    assert pd.Timestamp(int(asked["startTime"]), unit="ms") == pd.Timestamp("2020-09-27")
    there.asked.clear()
    assert feed.read(chosen, dict.fromkeys(known, date(2020, 10, 8)), date(2020, 10, 8)) == ([], [])
    assert there.asked == []


# Trouble that may pass


@pytest.mark.parametrize("status", [429, 418, 500, 502, 503, 504])
@pytest.mark.parametrize("dialect", ["binance spot", "kraken spot"])
def test_trouble_that_passes_is_waited_for(there: Exchange, hundred: pd.DataFrame, dialect: str, status: int) -> None:
    page = b"<html>busy</html>"
    there.acts = [Act(status=status, change=lambda _: page), Act(status=status, change=lambda _: page)]
    assert same(fetch(one(there, dialect)), hundred)
    assert len(there.candle_requests()) == 3


def test_a_venue_that_says_so_in_its_own_words_is_waited_for(there: Exchange, hundred: pd.DataFrame) -> None:
    there.acts = [Act(change=lambda _: {"error": ["EGeneral:Too many requests"]})]
    assert same(fetch(one(there, "kraken spot")), hundred)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("0", "waits 0 s (asked for 0 s)"),
        ("7", "waits 0.02 s (asked for 7 s)"),
        ("1000000000", "waits 0.02 s (asked for 1e+09 s)"),
        ("Fri, 09 Oct 2020 00:40:07 GMT", "waits 0.02 s (asked for 7 s)"),
        ("Fri, 09 Oct 2020 00:00:00 GMT", "waits 0 s (asked for 0 s)"),
        ("in a while", "s, then tries again (1 of 2)"),
    ],
)
def test_a_wait_that_is_asked_for_is_kept_up_to_a_cap(
    there: Exchange, caplog: pytest.LogCaptureFixture, asked: str, told: str
) -> None:
    caplog.set_level(logging.WARNING)
    there.acts = [Act(status=429, headers={"Retry-After": asked})]
    fetch(one(there))
    assert told in caplog.text
    assert ("asked for" in caplog.text) == ("asked for" in told)


def test_a_wait_is_read_as_seconds_or_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", "2020-10-09T00:40:00")
    read = {
        text: retry_after(Answer(429, {"retry-after": text}, b"")) for text in ("120", " 5 ", "9" * 40, "-1", "", "²")
    }
    assert read == {"120": 120.0, " 5 ": 5.0, "9" * 40: 999999999999.0, "-1": None, "": None, "²": None}
    assert retry_after(Answer(429, {"retry-after": "Fri, 09 Oct 2020 02:41:00 +0200"}, b"")) == 60.0
    assert retry_after(Answer(429, {}, b"")) is None


def test_tries_are_counted_and_a_venue_that_is_away_is_not_asked_for_more(there: Exchange) -> None:
    there.always = Act(status=503)
    with pytest.raises(
        FeedError, match=r"2 market\(s\) without candles, nothing was stored\n  AAA: .*after 3 tries"
    ) as told:
        feed.read(one(there), {}, date(2020, 10, 8))
    assert "status 503" in str(told.value)
    assert len(there.candle_requests()) == 3
    there.asked.clear()
    with pytest.raises(FeedError, match="after one try"):
        feed.read(one(there, retries=0), {}, date(2020, 10, 8))
    assert len(there.candle_requests()) == 1


def test_nobody_at_the_door_is_told(there: Exchange) -> None:
    with pytest.raises(OutOfReachError, match=r"its markets: no answer after 3 tries .*refused") as told:
        fetch(configured(venue(closed_port())))
    assert told.value.__cause__ is None


def test_a_door_that_does_not_open_is_left(there: Exchange) -> None:
    with deaf() as address, pytest.raises(OutOfReachError, match=r"no answer after one try .*timed out"):
        fetch(configured(venue(address), retries=0))


SLOW = {
    "silent": Act(where="nothing"),
    "head in drops": Act(where="head", pause=0.05),
    "body in drops": Act(where="body", pause=0.05),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
def test_a_slow_answer_is_left_and_asked_for_again(there: Exchange, hundred: pd.DataFrame, slow: Act) -> None:
    there.acts = [slow]
    assert same(fetch(one(there)), hundred)
    assert len(there.candle_requests()) == 2
    there.acts = [slow]
    with pytest.raises(OutOfReachError, match=r"no answer after one try .*(no whole answer within 0\.6 s|timed out)"):
        fetch(one(there, retries=0))


def test_a_wait_beyond_the_end_is_not_begun(there: Exchange) -> None:
    there.always = Act(status=429, headers={"Retry-After": "60"})
    chosen = limited(one(there), longest_retry_after_seconds=120.0, venue_seconds=10.0)
    with pytest.raises(OutOfReachError, match="no time left to try again"):
        fetch(chosen)
    assert len(there.candle_requests()) == 1


def test_behind_tls_it_is_the_same(hundred: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", "2020-10-09T00:40:00")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with exchange(context) as there:
        there.put(hundred)
        chosen = one(there)
        with pytest.raises(FeedError, match=r"its markets: .*certificate verify failed"):
            fetch(chosen)
        assert there.asked == []
        there.acts = [SLOW["body in drops"]]
        with Client(chosen, "binance_spot", time.monotonic() + 20) as client:
            client.ccxt.validateServerSsl = str(tmp_path / "ca.pem")
            assert same(history.fetch(client, "AAA", "1d", FIRST, END, GRACE), hundred)
        assert len(there.candle_requests()) == 2


def test_a_connection_that_stands_too_late_is_ended_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, _Watch(0.001, []) as watch:
        while not watch.is_up:
            time.sleep(0.001)
        theirs.settimeout(5)
        watch.add(ours)
        assert theirs.recv(1) == b""


def test_the_whole_has_an_end_whatever_single_answers_take(there: Exchange) -> None:
    there.always = SLOW["body in drops"]
    chosen = limited(one(there, retries=5), answer_seconds=0.3, venue_seconds=0.7)
    with pytest.raises(FeedError, match=r"the time for this venue is over|no time left to try again"):
        fetch(chosen)
    assert len(there.candle_requests()) < 5


BROKEN = {
    "cut off": Act(cut=200),
    "shorter than stated": Act(headers={"Content-Length": "9000000"}, cut=1),
    "bad gzip": Act(headers={"Content-Encoding": "gzip"}),
    "gzip with a fault inside": Act(
        headers={"Content-Encoding": "gzip"},
        change=lambda rows: (lambda b: b[:60] + bytes([b[60] ^ 255]) + b[61:])(
            gzip.compress(json.dumps(rows).encode())
        ),
    ),
}


@pytest.mark.parametrize("act", BROKEN.values(), ids=BROKEN)
def test_a_damaged_answer_is_refused_whole_and_asked_for_again(
    there: Exchange, hundred: pd.DataFrame, act: Act
) -> None:
    there.acts = [act]
    found = fetch(one(there))
    assert same(found, hundred)
    assert len(there.candle_requests()) == 2
    assert len(found.pages) == 1
    there.acts = [act]
    with pytest.raises(FeedError, match=r"broke off|Error -3|not of the form|no answer"):
        fetch(one(there, retries=0))
