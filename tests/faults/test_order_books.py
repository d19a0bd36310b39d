"""Order books by file: what is no book is set aside whole, named with file and row, and moves no number."""

import gzip
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests_support import dump, files_of

from assets import checks, order_books
from assets._run import Run
from benchmarks._small import write
from dagster_project import order_book_files
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.market_feed import FeedError
from dagster_project.order_books import OrderBooks
from dagster_project.raw_files import RawFileError
from dagster_project.settings import Settings, SettingsError

DAY = "2022-05-31"
NOW = "2022-06-01T00:40:00"
NOON = "2022-05-31T12:00:00Z"
TABLE = """
[order_books]
path = "{path}"
venues = {{ one = {{ AAA = "AAAUSDT" }}, coin = {{ AAA = "AAAUSD_PERP", BBB = "BBBUSD_PERP" }} }}
"""


def snapshot(venue: str = "one", symbol: str = "AAAUSDT", ts: str = NOON, mid: float = 100.0) -> pd.DataFrame:
    """Five levels a side; rows 1 to 5 are bids, 6 to 10 asks."""
    n = np.arange(1, 6)
    sides = [
        pd.DataFrame({"side": side, "level": n, "price": mid * (1 + sign * 0.001 * n), "quantity": 10.0 * n})
        for side, sign in (("bid", -1), ("ask", 1))
    ]
    made = pd.concat(sides, ignore_index=True).assign(ts=ts, venue=venue, symbol=symbol)
    return made[["ts", "venue", "symbol", "side", "level", "price", "quantity"]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("PLIMSOLL_NOW", NOW)
    (tmp_path / "books").mkdir(exist_ok=True)
    return settings_module.load(write(tmp_path, candles.head(2), TABLE.format(path=tmp_path / "books")))


@pytest.fixture
def books(tmp_path: Path) -> OrderBooks:
    (tmp_path / "books").mkdir(exist_ok=True)
    return OrderBooks.model_validate(tomllib.loads(TABLE.format(path=tmp_path / "books"))["order_books"])


def looked_at(books: OrderBooks) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Levels of all files, and what is set aside of them."""
    found = order_book_files.read(books, pd.Timestamp(NOW))
    return (
        pd.concat([one.levels for one in found], ignore_index=True),
        pd.concat([one.refused for one in found], ignore_index=True),
    )


Night = Callable[..., dict[str, int]]


@pytest.fixture
def night(settings: Settings) -> Night:
    def take(day: str = DAY) -> dict[str, int]:
        assert settings.order_books is not None
        run = Run(settings, (date.fromisoformat(day),), "test")
        with warehouse_of(settings).session() as session:
            return order_books.ingest(session, settings, settings.order_books, run)

    return take


def stored(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables = dump(settings)
    return tables["order_book"], tables["order_book_quarantine"]


def drop(books: OrderBooks, rows: pd.DataFrame, name: str = "a.csv") -> Path:
    path = books.path / name
    if name.endswith(".parquet"):
        rows.to_parquet(path, index=False)
    else:
        rows.to_csv(path, index=False)
    return path


def at(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    changed = frame.astype({column: object})
    changed.loc[row - 1, column] = value
    return changed


BAD = [
    (lambda f: at(f, 4, "side", "buy"), "unknown_side", 4, "side 'buy'"),
    (lambda f: at(f, 2, "level", 1), "level_twice", 2, "level 1 of side bid"),
    (lambda f: f.drop(index=6), "level_missing", 7, "of side ask"),
    (lambda f: at(f, 3, "level", 2.5), "level", 3, "level 2.5"),
    (lambda f: at(f, 9, "price", "cheap"), "price", 9, "price cheap"),
    (lambda f: at(f, 9, "price", "inf"), "price", 9, "price inf"),
    (lambda f: at(f, 1, "price", -1), "price", 1, "price -1"),
    (lambda f: at(f, 5, "quantity", 0), "quantity", 5, "quantity 0"),
    (lambda f: at(f, 5, "quantity", ""), "quantity", 5, "is not a positive number"),
    (lambda f: at(f, 5, "quantity", "nan"), "quantity", 5, "quantity nan"),
    (lambda f: at(f, 2, "price", 99.95), "unsorted", 2, "is not worse"),
    (lambda f: at(f, 1, "price", 100.1), "crossed", 1, "is crossed"),
    (lambda f: f[f["side"] == "bid"], "one_sided", None, "no level of side ask"),
    (lambda f: f.assign(symbol="CCC"), "unknown_symbol", 1, "one CCC 2022-05-31 12:00:00: row 1: no market of ours"),
    (lambda f: f.assign(venue="two"), "unknown_symbol", 1, "two AAAUSDT"),
    (lambda f: f.assign(ts="2022-06-01T00:40:01Z"), "future", 1, "later than 2022-06-01 00:40:00 UTC"),
    (lambda f: f.assign(contract_usd=["100"] * 9 + ["10"]), "contract_usd", 10, "contract_usd '10'"),
    (lambda f: f.assign(contract_usd=["100"] * 9 + [""]), "contract_usd", 10, "one positive number"),
    (lambda f: f.assign(contract_usd="-1"), "contract_usd", 1, "contract_usd '-1'"),
]


@pytest.mark.parametrize(("change", "reason", "row", "words"), BAD, ids=[f"{n} {one[1]}" for n, one in enumerate(BAD)])
def test_a_snapshot_at_fault_is_set_aside_whole_and_its_neighbours_stay(
    books: OrderBooks, change: Callable[..., pd.DataFrame], reason: str, row: int | None, words: str
) -> None:
    drop(books, pd.concat([change(snapshot()), snapshot("coin", "BBBUSD_PERP")], ignore_index=True))
    levels, refused = looked_at(books)
    assert set(levels["symbol"]) == {"BBB"} and len(levels) == 10
    (found,) = refused.to_dict("records")
    assert found["reason"] == reason and found["origin"] == "a.csv" and found["detail"].startswith("a.csv: ")
    assert words in found["detail"]
    assert (
        pd.isna(found["row_number"])
        if row is None
        else (found["row_number"] == row and f"row {row}: " in found["detail"])
    )


def test_what_is_set_aside_is_stored_and_told_once(settings: Settings, books: OrderBooks, night: Night) -> None:
    bad = [snapshot().head(5), snapshot(symbol="CCC"), snapshot("coin", "BBBUSD_PERP")]
    drop(books, pd.concat(bad, ignore_index=True))
    drop(books, snapshot().drop(columns="side"), "b.csv")
    counts = night()
    assert (counts["snapshots"], counts["levels"], counts["set_aside"], counts["raw_files"]) == (1, 10, 3, 2)
    _, aside = stored(settings)
    assert sorted(aside["reason"]) == ["one_sided", "unknown_symbol", "unreadable_file"]
    with warehouse_of(settings).session() as session:
        told = checks.failures(session, "order_book_set_aside", settings, date.fromisoformat(DAY))
        assert list(told["reason"]) == ["one_sided", "unknown_symbol", "unreadable_file"]
        assert checks.failures(session, "order_book_set_aside", settings, date(2022, 5, 30)).empty
    again = night()
    assert (again["levels"], again["set_aside"], again["raw_files"]) == (0, 0, 0)


WHOLE = [
    (lambda f: f.drop(columns="level"), "column(s) level missing; found ts, venue"),
    (lambda f: f.head(0), "no rows"),
    (lambda f: at(f, 3, "venue", ""), "row 3: column venue is empty"),
    (lambda f: at(f, 7, "ts", "yesterday"), "row 7: ts 'yesterday' is no time"),
    (lambda f: f.assign(ts=1_654_000_000), "row 1: ts '1654000000' is no time"),
]


@pytest.mark.parametrize(("change", "words"), WHOLE)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_at_fault_is_set_aside_and_the_others_stay(
    books: OrderBooks, change: Callable[..., pd.DataFrame], words: str, name: str
) -> None:
    drop(books, change(snapshot()), name)
    drop(books, snapshot("coin", "BBBUSD_PERP"), "b.csv")
    levels, refused = looked_at(books)
    assert len(levels) == 10
    (found,) = refused.to_dict("records")
    assert (found["reason"], found["origin"], len(found["source_sha256"])) == ("unreadable_file", name, 64)
    assert found["detail"].startswith(f"{name}: ") and words in found["detail"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xff\xfe\x00", "not UTF-8 at byte 0"),
        ("a.csv", b"ts,venue\n1,2,3\n", "not a comma-separated file"),
        ("a.csv", b"ts,ts,venue,symbol,side,level,price,quantity\n", "column(s) ts stand twice"),
        ("a.csv", b"a\0b", "NUL"),
        ("a.csv", b",".join(b"c%d" % n for n in range(70)), "70 columns, more than 64"),
        ("a.csv.gz", b"no gzip", "damaged gzip"),
        ("a.csv.gz", gzip.compress(bytes(40 * 2**20)), "unpacks to more than"),
        ("a.parquet", b"PAR1 and no more", "not a readable Parquet file"),
    ],
)
def test_bytes_that_are_no_file_of_books_are_named(books: OrderBooks, name: str, content: bytes, words: str) -> None:
    (books.path / name).write_bytes(content)
    levels, refused = looked_at(books)
    (found,) = refused.to_dict("records")
    assert levels.empty and found["reason"] == "unreadable_file"
    assert found["detail"].startswith(f"{name}: ") and words in found["detail"]


def test_a_link_is_not_followed(settings: Settings, books: OrderBooks, night: Night, tmp_path: Path) -> None:
    outside = drop(books, snapshot()).rename(tmp_path / "outside.csv")
    (books.path / "a.csv").symlink_to(outside)
    assert night()["set_aside"] == 1
    _, aside = stored(settings)
    assert aside["detail"].iloc[0].startswith("a.csv: cannot be read: a symbolic link")
    assert pd.isna(aside["source_sha256"].iloc[0]) and str(tmp_path) not in aside["detail"].iloc[0]
    assert night()["set_aside"] == 0


def test_a_path_that_is_not_there_stops_the_stage(settings: Settings, books: OrderBooks, night: Night) -> None:
    books.path.rmdir()
    with pytest.raises(FeedError, match=r"order_books\.path .*books: no such file or folder"):
        night()


def test_both_formats_and_any_order_of_rows_store_the_same(
    settings: Settings, books: OrderBooks, night: Night, tmp_path: Path
) -> None:
    path = drop(books, snapshot())
    assert night()["levels"] == 10
    one, _ = stored(settings)
    path.unlink()
    frame = snapshot().sample(frac=1, random_state=1)
    frame["ts"] = pd.to_datetime(frame["ts"])
    drop(books, frame.astype({"venue": "category", "side": "category"}), "b.parquet")
    counts = night()
    assert (counts["levels"], counts["set_aside"]) == (0, 0), "the same snapshot from another file is no news"
    two, _ = stored(settings)
    pd.testing.assert_frame_equal(one, two)


def test_contracts_of_a_fixed_value_become_units(settings: Settings, books: OrderBooks, night: Night) -> None:
    contracts = snapshot("coin", "AAAUSD_PERP").assign(contract_usd=100)
    plain = snapshot().assign(contract_usd="")
    drop(books, pd.concat([contracts, plain], ignore_index=True))
    assert night()["set_aside"] == 0
    book, _ = stored(settings)
    mine = book[book["venue"] == "coin"].sort_values(["side", "level"], ignore_index=True)
    units = book[book["venue"] == "one"].sort_values(["side", "level"], ignore_index=True)
    np.testing.assert_allclose(mine["quantity"], units["quantity"] * 100 / units["price_usd"], rtol=1e-14)


def test_a_snapshot_that_was_stored_is_never_changed(settings: Settings, books: OrderBooks, night: Night) -> None:
    drop(books, snapshot())
    night()
    before, _ = stored(settings)
    drop(books, at(snapshot(), 10, "quantity", 999), "b.csv")
    assert night()["set_aside"] == 1
    after, aside = stored(settings)
    pd.testing.assert_frame_equal(before, after)
    assert aside["reason"].iloc[0] == "snapshot_differs" and "other levels than in" in aside["detail"].iloc[0]


def test_two_files_that_differ_on_a_snapshot_are_told_the_first_by_name_counts(
    settings: Settings, books: OrderBooks, night: Night
) -> None:
    drop(books, at(snapshot(), 10, "quantity", 999), "b.csv")
    drop(books, snapshot(), "a.csv")
    assert night()["set_aside"] == 1
    book, aside = stored(settings)
    assert book["quantity"].max() == 50 and "b.csv" in aside["origin"].iloc[0] and "a.csv" in aside["detail"].iloc[0]


def test_a_later_snapshot_waits_for_its_own_night(settings: Settings, books: OrderBooks, night: Night) -> None:
    drop(books, pd.concat([snapshot(), snapshot(ts="2022-06-01T00:10:00Z")], ignore_index=True))
    assert night()["snapshots"] == 1
    book, aside = stored(settings)
    assert set(book["snapshot_at"]) == {pd.Timestamp("2022-05-31 12:00:00")} and aside.empty
    assert night("2022-06-01")["snapshots"] == 1


def test_a_time_that_lay_in_the_future_is_not_believed_later(
    settings: Settings, books: OrderBooks, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(books, snapshot(ts="2022-06-01T06:00:00Z"))
    assert night()["set_aside"] == 1
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-06-02T00:40:00")
    counts = night("2022-06-01")
    assert (counts["snapshots"], counts["set_aside"]) == (0, 0)


def test_a_store_made_anew_finds_the_bytes_that_were_kept(settings: Settings, books: OrderBooks, night: Night) -> None:
    path = drop(books, snapshot())
    drop(books, snapshot("coin", "BBBUSD_PERP").head(4), "bad.csv")
    night()
    before, kept = stored(settings), files_of(settings)
    assert len(kept) == 2 and all(name.startswith("raw/order_books/") for name in kept)
    for left in path.parent.iterdir():
        left.unlink()
    store = Path(warehouse_of(settings).path)
    for left in store.parent.glob(f"{store.name}*"):
        left.unlink()
    night()
    after = stored(settings)
    pd.testing.assert_frame_equal(before[0], after[0])
    assert list(after[1]["reason"]) == ["one_sided"]
    assert files_of(settings) == kept
    night()
    pd.testing.assert_frame_equal(after[1], stored(settings)[1])


def test_kept_bytes_that_were_changed_are_refused(settings: Settings, books: OrderBooks, night: Night) -> None:
    drop(books, snapshot())
    night()
    store = Path(warehouse_of(settings).path)
    (kept,) = (store.parent / "raw" / "order_books").iterdir()
    kept.write_bytes(gzip.compress(b"other"))
    (books.path / "a.csv").unlink()
    for left in store.parent.glob(f"{store.name}*"):
        left.unlink()
    with pytest.raises(RawFileError, match="not the bytes that were received"):
        night()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('AAA = "AAAUSDT"', 'CCC = "AAAUSDT"', "order_books.venues.one.CCC: no [markets.CCC]"),
        ("one = {", "One = {", "'One' is not lower case"),
        ('AAA = "AAAUSD_PERP"', 'AAA = "BBBUSD_PERP"', "venues.coin: one book feeds two markets"),
        ('"AAAUSDT"', '" "', "venues.one.AAA: an empty symbol"),
        ("venues = {", "max_age_days = 0\nvenues = {", "order_books.max_age_days"),
        ("venues = {", "depth_haircut = 1.0\nvenues = {", "order_books.depth_haircut"),
    ],
)
def test_a_configuration_that_fits_nothing_is_refused_by_key(
    settings: Settings, tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "small.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SettingsError) as caught:
        settings_module.load(path)
    assert words in str(caught.value)


def test_where_books_lie_moves_no_number_and_how_they_count_does(settings: Settings, tmp_path: Path) -> None:
    text = (tmp_path / "small.toml").read_text()

    def hash_of(changed: str) -> str:
        (tmp_path / "other.toml").write_text(changed)
        return settings_module.load(tmp_path / "other.toml").config_hash

    assert hash_of(text.replace("books", "elsewhere").replace("order_elsewhere", "order_books")) == settings.config_hash
    assert hash_of(text + "depth_haircut = 0.6\n") != settings.config_hash
    without = text[: text.index("[order_books]")]
    assert hash_of(without) != settings.config_hash
    (tmp_path / "other.toml").write_text(without)
    assert "order_books" not in settings_module.load(tmp_path / "other.toml").model_dump()
