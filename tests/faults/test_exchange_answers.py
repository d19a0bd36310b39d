"""Answers of exchanges that will not do: refusals, other forms, too large, from elsewhere, pages that do not fit."""

import gzip
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest
from faults.exchange_server import (
    DAY,
    Act,
    Exchange,
    closed_port,
    configured,
    exchange,
    fetch,
    one,
    refused,
    same,
    venue,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.exchanges import feed, history
from dagster_project.exchanges.client import Client, Reader, make
from dagster_project.exchanges.history import NUMBERS
from dagster_project.exchanges.wire import Kept, depth_of
from dagster_project.market_feed import FeedError


@pytest.mark.parametrize("status", [401, 403, 407, 451])
def test_a_refusal_is_not_asked_again(there: Exchange, status: int) -> None:
    refused(
        there, Act(status=status), rf"binance_spot: 127\.0\.0\.1/api/v3/klines: refused with {status}, not asked again"
    )


def test_what_the_venue_does_not_know_is_not_asked_again(there: Exchange) -> None:
    body = {"code": -1121, "msg": "Invalid symbol."}
    refused(there, Act(status=400, change=lambda _: body), r"AAA/USDT 1d from 2020-07-01.*refused.*")
    there.asked.clear()
    refused(there, Act(status=404, change=lambda _: {}), r"refused with 404")


def test_a_key_is_in_no_message(
    there: Exchange, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VENUE_ONE", "canary-key-9347")
    monkeypatch.setenv("VENUE_TWO", "canary-phrase-5521")
    more = 'api_key_env = "VENUE_ONE"\nsecret_env = "VENUE_TWO"\n'
    chosen = configured(venue(there.address, more=more))
    caplog.set_level(logging.DEBUG)
    told = []
    for status in (401, 400, 429, 200):
        echo = {"code": -1000, "msg": "you sent canary-key-9347 and canary-phrase-5521"}
        there.always = Act(status=status, change=lambda _, echo=echo: echo)
        with pytest.raises(FeedError) as caught:
            fetch(chosen)
        told.append(str(caught.value))
        assert caught.value.__cause__ is None
    assert "canary" not in caplog.text + "".join(told)
    assert "[hidden]" in "".join(told)


def test_a_page_for_people_is_no_candles(there: Exchange) -> None:
    page = Act(headers={"Content-Type": "text/html"}, change=lambda _: b"<html><body>Maintenance</body></html>")
    refused(there, page, r"answered 200 with text/html that is no JSON: '<html><body>Maintenance")


def test_an_answer_cut_by_its_own_length_is_no_candles(there: Exchange) -> None:
    refused(there, Act(headers={"Content-Length": "500"}), "answered 200 with application/json that is no JSON")


def test_a_packed_answer_that_ends_early_is_no_candles(there: Exchange) -> None:
    def early(rows: Any) -> bytes:
        return gzip.compress(json.dumps(rows).encode())[:-400]

    refused(there, Act(headers={"Content-Encoding": "gzip"}, change=early), "that is no JSON")


NOTHING = {
    "binance spot": lambda _: [],
    "kraken spot": lambda body: body | {"result": {"last": 1}},
}


@pytest.mark.parametrize("dialect", NOTHING)
def test_no_candles_are_not_the_same_as_no_trades(there: Exchange, dialect: str) -> None:
    told = refused(there, Act(change=NOTHING[dialect]), "not the same as no trades", dialect, requests=1)
    assert "The answer begins" in told


def test_a_day_without_trades_is_a_candle(there: Exchange, hundred: pd.DataFrame) -> None:
    quiet = hundred.copy()
    quiet.loc[50, "volume"] = 0.0
    there.put(quiet)
    assert same(fetch(one(there)), quiet)


def test_before_a_listing_there_is_nothing(there: Exchange, hundred: pd.DataFrame) -> None:
    """Exchanges that answer by windows have empty ones before a listing; later there may be none."""
    first = pd.Timestamp("2020-01-15")
    there.acts = [Act(change=lambda _: []), Act(change=lambda _: [])]
    found = fetch(one(there), since=first)
    assert found.candles["date"].min() == first + 2 * pd.Timedelta(days=history.EMPTY_STEPS)
    assert found.gaps == ()


def test_a_market_that_has_stopped_is_told(there: Exchange, hundred: pd.DataFrame) -> None:
    there.put(hundred[(hundred["date"] < "2020-10-01") | (hundred["symbol"] == "BBB")])
    there.page = 60
    with pytest.raises(FeedError, match=r"no candle of 2020-10-01 00:00, which is over; the market is halted or gone"):
        fetch(one(there))


def test_one_market_without_news_goes_stale_and_the_others_go_on(
    there: Exchange, hundred: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    there.put(hundred[(hundred["date"] < "2020-10-01") | (hundred["symbol"] == "BBB")])
    known = dict.fromkeys([("binance_spot", "AAA"), ("binance_spot", "BBB")], date(2020, 9, 30))
    inputs, troubles = feed.read(one(there), known, date(2020, 10, 8))
    assert [raw.origin.split()[1] for raw in inputs] == ["BBB"]
    assert [(trouble.source, trouble.symbol) for trouble in troubles] == [("binance_spot", "AAA")]
    assert "AAA of binance_spot has nothing new: binance_spot: AAA/USDT 1d: no candle of 2020-10-01" in caplog.text
    with pytest.raises(FeedError, match=r"1 market\(s\) without candles, nothing was stored"):
        feed.read(one(there), {("binance_spot", "BBB"): date(2020, 9, 30)}, date(2020, 10, 8))
    there.put(hundred[hundred["date"] < "2020-10-01"])
    with pytest.raises(FeedError, match=r"2 market\(s\) without candles"):
        feed.read(one(there), known, date(2020, 10, 8))


def test_a_second_venue_may_be_away(there: Exchange) -> None:
    chosen = configured(venue(there.address), venue(closed_port(), "kraken"))
    inputs, troubles = feed.read(chosen, {}, date(2020, 10, 8))
    assert {raw.source for raw in inputs} == {"binance_spot"}
    assert [(trouble.source, trouble.symbol) for trouble in troubles] == [
        ("kraken_spot", "AAA"),
        ("kraken_spot", "BBB"),
    ]


# Answers of another form


def cell(row: int, column: int, value: Any) -> Callable[[Any], Any]:
    def change(rows: Any) -> Any:
        return [
            [value if (n, m) == (row, column) else old for m, old in enumerate(line)] for n, line in enumerate(rows)
        ]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cell(3, 1, None), "open of candle 4 is missing or no number"),
        (cell(3, 2, "high"), "high of candle 4 is missing or no number"),
        (cell(3, 3, {"low": 1}), "low of candle 4 is missing or no number"),
        (cell(3, 4, ""), "close of candle 4 is missing or no number"),
        (lambda rows: [row[:5] for row in rows], "volume of candle 1 is missing or no number"),
        (lambda rows: [row[1:] for row in rows], "time of candle 1 is"),
        (cell(3, 0, None), "time of candle|not of the form"),
        (lambda rows: [[row[0] // 1000, *row[1:]] for row in rows], r"time of candle 1 is 1970-.*no beginning of such"),
        (lambda rows: [[row[0] + 28_800_000, *row[1:]] for row in rows], "2020-07-01 08:00:00, no beginning of such"),
        (lambda rows: {"data": rows}, "missing or no number|not of the form"),
        (lambda rows: [{"t": row[0], "c": row[4]} for row in rows], "missing or no number|not of the form"),
        (lambda _: 7, "of the form|missing"),
        (lambda _: "candles", "of the form|missing"),
        (lambda rows: [*rows, [rows[-1][0], "1", "2", "0.5", "1", "3"]], "stands twice with different values"),
    ],
)
def test_another_form_is_refused_by_the_name_of_the_field(
    there: Exchange, change: Callable[[Any], Any], message: str
) -> None:
    refused(there, Act(change=change), message)


def test_more_columns_numbers_for_texts_and_rows_sent_twice_do_no_harm(there: Exchange, hundred: pd.DataFrame) -> None:
    def more(rows: Any) -> Any:
        changed = [[row[0], *[float(text) for text in row[1:6]], *row[6:], "new"] for row in rows]
        return [*changed[::-1], changed[5]]

    there.always = Act(change=more)
    assert same(fetch(one(there)), hundred)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def readers() -> dict[str, Reader]:
    return {name: Reader(configured(venue("", name)).source.venues[f"{name}_spot"]) for name in ("binance", "kraken")}


@given(row=st.integers(0, 3), column=st.integers(0, 11), value=ANY_JSON, name=st.sampled_from(["binance", "kraken"]))
@settings(max_examples=150, deadline=None)
def test_no_cell_gets_past_the_reader_unexplained(
    readers: dict[str, Reader], row: int, column: int, value: Any, name: str
) -> None:
    times = [1_593_561_600_000 + n * DAY for n in range(4)]
    lines = [[time_ms, "1.5", "3", "1", "2.5", "7", "8", 9, "1", "1", "1", "0"] for time_ms in times]
    if name == "kraken":
        lines = [[line[0] // 1000, *line[1:8]] for line in lines]
    lines[row][column : column + 1] = [value]
    body = lines if name == "binance" else {"error": [], "result": {"X": lines, "last": 1}}
    try:
        frame = history.read(readers[name], "venue", "AAA/USD", "1d", "X", json.dumps(body).encode())
    except FeedError as error:
        assert "venue: AAA/USD 1d: " in str(error)
    else:
        assert list(frame["date"].dt.normalize()) == list(frame["date"])
        assert frame[NUMBERS].dtypes.eq("float64").all()


# Too large, too deep, elsewhere


def test_a_bomb_is_not_unpacked(there: Exchange) -> None:
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]", compresslevel=1)
    packed = Act(headers={"Content-Encoding": "gzip"}, change=lambda _: bomb)
    refused(there, packed, "unpacks to more than 1 MiB, refused")


def test_a_flood_is_not_read(there: Exchange) -> None:
    refused(there, Act(change=lambda _: b" " * (3 << 20)), "unpacks to more than 1 MiB, refused")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" * 17 + b"]" * 17, b'{"a":' * 17 + b"1" + b"}" * 17])
def test_nesting_has_a_limit(there: Exchange, content: bytes) -> None:
    refused(there, Act(change=lambda _: content), r"nested \d+ deep, refused")


def test_brackets_in_texts_are_no_nesting() -> None:
    assert depth_of(b'{"a": "[[[[\\"[[[", "b": [1, {"c": "]"}]}') == 3
    assert depth_of(b"") == 0
    assert depth_of(b"]]]") == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(there: Exchange, status: int) -> None:
    with exchange() as elsewhere:
        for target in (
            f"{elsewhere.address}/api/v3/klines",
            "file:///etc/passwd",
            "//169.254.169.254/latest",
            "/api/v3/ping",
        ):
            there.asked.clear()
            host = re.search(r"//([\d.]+)", target)
            told = refused(there, Act(status=status, headers={"Location": target}), rf"redirects to .* \({status}\)")
            assert (host.group(1) if host else "elsewhere") in told
        assert elsewhere.asked == []


def test_other_hosts_are_not_asked(there: Exchange) -> None:
    chosen = one(there)
    with Client(chosen, "binance_spot", time.monotonic() + 5) as client:
        with pytest.raises(FeedError, match=r"localhost/api/v3/ping: not a host of this exchange"):
            client.ccxt.fetch(there.address.replace("127.0.0.1", "localhost") + "/api/v3/ping")
        assert client.wire.hosts == {there.address.removeprefix("http://")}
    plain = configured(venue("", "kraken"))
    with Client(plain, "kraken_spot", time.monotonic() + 5) as client:
        assert "api.kraken.com" in client.wire.hosts


# Pages that do not fit


def test_a_hole_is_asked_for_twice_and_then_is_one(
    there: Exchange, hundred: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    days = pd.to_datetime(["2020-08-03", "2020-08-04", "2020-09-20"])
    holed = hundred[~hundred["date"].isin(days)]
    there.put(holed)
    found = fetch(one(there))
    assert same(found, holed)
    assert found.gaps == ((days[0], days[1]), (days[2], days[2]))
    assert "AAA/USDT 1d: no candles from 2020-08-03 00:00:00 to 2020-08-04 00:00:00, asked twice" in caplog.text


def test_what_is_missing_from_one_answer_only_is_found(there: Exchange, hundred: pd.DataFrame) -> None:
    """Within a page, and where two pages meet."""
    there.acts = [Act(change=lambda rows: rows[:20] + rows[22:])]
    found = fetch(one(there))
    assert same(found, hundred)
    assert found.gaps == ()
    there.page = 50
    there.acts = [Act(), Act(change=lambda rows: rows[2:])]
    found = fetch(one(there))
    assert same(found, hundred)
    assert found.gaps == ()


def test_pages_may_overlap_and_must_agree(there: Exchange, hundred: pd.DataFrame) -> None:
    there.page = 60
    rows = there.answer("/api/v3/klines", {"symbol": "AAAUSDT", "interval": "1d", "limit": "500"})
    there.acts = [Act(), Act(change=lambda page: rows[40:] + page)]
    found = fetch(one(there))
    assert same(found, hundred)
    assert found.candles["date"].is_unique
    there.acts = [Act(), Act(change=lambda page: [[*page[0][:4], "1.25", *page[0][5:]], *page[1:]])]
    with pytest.raises(FeedError, match=r"close of 2020-08-29 00:00 is .* on one page and 1\.25 on the next"):
        fetch(one(there))


def test_a_venue_that_goes_round_in_circles_is_left(there: Exchange) -> None:
    there.page = 30
    first = there.answer("/api/v3/klines", {"symbol": "AAAUSDT", "interval": "1d", "limit": "500"})
    refused(there, Act(change=lambda _: first), "goes round in circles or has nothing newer", requests=2)


def test_a_venue_that_gives_crumbs_is_left(there: Exchange) -> None:
    there.page = 2
    refused(there, Act(), "more than 60 pages; see source.limits.most_pages", requests=60)


# What a configuration may get wrong, and what was kept


def test_an_unknown_symbol_or_exchange_is_named(there: Exchange) -> None:
    wrong = configured(venue(there.address).replace("AAA/USDT", "AAA/EUR"))
    with pytest.raises(
        FeedError, match=r"source\.venues\.binance_spot\.symbols\.AAA: no 'AAA/EUR' at binance; it has AAA/USDT"
    ):
        fetch(wrong)
    with pytest.raises(FeedError, match=r"exchange 'nowhere': ccxt [\d.]+ has none of that name"):
        fetch(configured(venue(there.address).replace('"binance"', '"nowhere"')))
    with pytest.raises(FeedError, match="gives no candles"):
        make(configured(venue("").replace('"binance"', '"coinspot"')).source.venues["binance_spot"], Kept())


def test_what_was_kept_is_read_as_it_came(there: Exchange, hundred: pd.DataFrame) -> None:
    there.page = 60
    holed = hundred[hundred["date"] != "2020-08-03"]
    there.put(holed)
    chosen = configured(venue(there.address), venue(there.address, "kraken"))
    inputs, _ = feed.read(chosen, {}, date(2020, 10, 6))
    assert len(inputs) > 8
    for raw in inputs:
        again = feed.again(chosen, raw.origin, raw.content)
        pd.testing.assert_frame_equal(again.frame, raw.frame)
        assert (again.source, again.suffix) == (raw.source, ".json")
    with pytest.raises(FeedError, match=r"source\.venues\.kraken_spot\.symbols\.AAA is gone"):
        feed.again(configured(venue(there.address)), inputs[-1].origin.replace("BBB", "AAA"), inputs[-1].content)
    with pytest.raises(FeedError, match="not the origin of an exchange's answer"):
        feed.again(chosen, "candles.csv", b"")
