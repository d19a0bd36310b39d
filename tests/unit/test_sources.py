"""Sources: each bad key of a venue is refused by name, order decides the price, and limits move no number."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from dagster_project import settings as settings_module
from dagster_project.settings import Settings, SettingsError
from dagster_project.sources import Venue

ROOT = Path(__file__).resolve().parents[2]
LIVE = ROOT / "config" / "crypto_live.toml"
VENUE = {"exchange": "kraken", "product": "spot", "symbols": {"BTC": "BTC/USD"}}


def live(**source: Any) -> Settings:
    table = tomllib.loads(LIVE.read_text(encoding="utf-8"))
    table["source"] |= source
    return Settings.model_validate(table)


def refused(tmp_path: Path, text: str, said: str) -> str:
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        settings_module.load(tmp_path / "bad.toml")
    assert said in str(caught.value)
    return str(caught.value)


def test_the_live_profile_differs_from_the_other_in_its_source_only() -> None:
    paths = [LIVE, LIVE.with_name("crypto.toml")]
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in paths]
    for table in tables:
        del table["source"]
        for key in ("name", "title", "about"):
            del table["profile"][key]
    assert tables[0] == tables[1]


def test_the_live_profile_names_four_venues_a_major_with_spot_and_perpetual_apart() -> None:
    source = settings_module.load(LIVE).source
    for market in ("BTC", "ETH"):
        having = [venue for venue in source.venues.values() if market in venue.symbols]
        assert {"binance", "coinbase", "kraken"} < {venue.exchange for venue in having}
        assert len({venue.exchange for venue in having if venue.product == "spot"}) >= 4
        assert len({venue.exchange for venue in having if venue.product == "perpetual"}) >= 2
        assert source.id_of(market) == "binance_spot"


@pytest.mark.parametrize("name", sorted(settings_module.load(LIVE).source.venues))
def test_every_venue_of_the_live_profile_is_one_that_ccxt_has(name: str) -> None:
    from dagster_project.exchanges.client import make
    from dagster_project.exchanges.wire import Kept

    client = make(settings_module.load(LIVE).source.venues[name], Kept())
    assert client.has["fetchOHLCV"]
    assert "1d" in client.timeframes
    client.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('exchange = "kraken"', 'exchange = "Kraken!"', "source.venues.kraken_spot.exchange: 'Kraken!' is not the id"),
        ('exchange = "kraken"\nproduct = "spot"', 'exchange = "kraken"\nproduct = "future"', "kraken_spot.product"),
        ('BTC = "BTC/USD"', 'BTC = "BTCUSD"', "symbols.BTC: 'BTCUSD' is no symbol, e.g. BTC/USDT"),
        ('BTC = "BTC/USD"', 'BTC = "BTC/USD:USD"', "is a contract; product spot needs one without ':'"),
        (
            'BTC = "BTC/USDT:USDT"',
            'BTC = "BTC/USDT"',
            "perpetual, which is settled in its quote: BTC/USDT:USDT",
        ),
        ('BTC = "BTC/USDT:USDT"', 'BTC = "BTC/USDT:BTC"', "is no linear perpetual"),
        ('ETH = "ETH/USD"', 'ETH = "BTC/USD"', "one series feeds two markets"),
        ('BTC = "BTC/USD"', 'XYZ = "XYZ/USD"', "source.venues: unknown market(s) XYZ"),
        ('PAXG = "PAXG/USDT"\n', "", "source.venues: no venue has market(s) PAXG"),
        ("[source.venues.kraken_spot", "[source.venues.Kraken-Spot", "'Kraken-Spot' is not lower case"),
        ('name = "exchanges"', 'name = "kraken_spot"', "name 'kraken_spot' is the name of a venue, too"),
        ("history_first_day = 2017-08-17", "", "kind exchange needs history_first_day"),
        ('kind = "exchange"', 'kind = "candles"', "only for kind exchange, not candles"),
        ("retries = 5", "retries = 6", "source.limits.retries"),
        ("longest_wait_seconds = 60", "longest_wait_seconds = 61", "source.limits.longest_wait_seconds"),
        ("longest_retry_after_seconds = 120", "longest_retry_after_seconds = 121", "longest_retry_after_seconds"),
        ("most_pages = 500", "most_pages = 0", "source.limits.most_pages"),
        ("overlap_days = 150", "overlap_days = 1", "source.overlap_days"),
    ],
)
def test_a_bad_key_is_refused_by_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = LIVE.read_text(encoding="utf-8")
    assert old in text
    refused(tmp_path, text.replace(old, new), said)


@pytest.mark.parametrize(
    "address",
    [
        "http://api.kraken.com",
        "ftp://127.0.0.1",
        "https://",
        "https://u:p@host.example",
        "https://host.example/api",
        "x",
    ],
)
def test_an_address_is_a_safe_one(tmp_path: Path, address: str) -> None:
    text = LIVE.read_text(encoding="utf-8").replace(
        'exchange = "kraken"', f'exchange = "kraken"\naddress = "{address}"'
    )
    told = refused(tmp_path, text, "is not https:// with a host alone, nor http:// on loopback")
    assert "u:p" not in told


def test_addresses_of_mirrors_and_of_loopback_are_taken() -> None:
    for address in (
        "https://mirror.example.org/",
        "https://mirror.example.org:8443",
        "http://127.0.0.1:80",
        "http://[::1]:1",
    ):
        assert Venue(**VENUE, address=address).address == address.rstrip("/")


def test_a_credential_in_the_configuration_is_refused_and_not_repeated(tmp_path: Path) -> None:
    more = 'exchange = "kraken"\napi_key_env = "k9-canary-secret"\nsecret_env = "VENUE_SECRET"'
    text = LIVE.read_text(encoding="utf-8").replace('exchange = "kraken"', more)
    assert "canary" not in refused(tmp_path, text, "is not the name of an environment variable")
    refused(tmp_path, text.replace("k9-canary-secret", "K").replace('secret_env = "VENUE_SECRET"', ""), "go together")


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_project import redaction

    venue = Venue(**VENUE, api_key_env="VENUE_ONE", secret_env="VENUE_TWO", passphrase_env="VENUE_THREE")
    assert venue.credentials() == {}
    monkeypatch.setenv("VENUE_ONE", "alpha-key")
    monkeypatch.setenv("VENUE_TWO", "beta-key")
    assert venue.credentials() == {"apiKey": "alpha-key", "secret": "beta-key"}
    chosen = live(venues={**live().model_dump()["source"]["venues"], "kraken_spot": venue.model_dump()})
    assert redaction.redact("sent alpha-key and beta-key", chosen) == "sent [hidden] and [hidden]"


def test_what_moves_no_number_leaves_the_hash_alone() -> None:
    before = live()
    venues = before.model_dump()["source"]["venues"]
    quiet = {"rate_limit_ms": 500, "address": "https://mirror.example.org", "api_key_env": "A", "secret_env": "B"}
    assert live(limits={"retries": 1}).config_hash == before.config_hash
    assert live(venues=venues | {"okx_spot": venues["okx_spot"] | quiet}).config_hash == before.config_hash
    moved = [
        live(overlap_days=151),
        live(venues={name: venues[name] for name in reversed(venues)}),
        live(venues=venues | {"okx_spot": venues["okx_spot"] | {"symbols": {"BTC": "BTC/USDC"}}}),
        live(venues=venues | {"okx_spot": venues["okx_spot"] | {"volume_unit": "none"}}),
    ]
    assert len({before.config_hash, *(one.config_hash for one in moved)}) == 5


def test_a_file_can_take_the_place_of_exchanges() -> None:
    chosen = live().with_candles(Path("daily.parquet"))
    assert chosen.source.kind == "candles"
    assert chosen.source.ids() == ("exchanges",)
    assert chosen.source.id_of("BTC") == "exchanges"
    Settings.model_validate(chosen.model_dump())
