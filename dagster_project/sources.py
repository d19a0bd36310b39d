"""Sources: where candles come from, as configured.

What lives here: the tables ``[source]`` and below, and the base of all configuration tables. What does not: the other
tables (``settings``), reading candles (``market_feed``, ``exchanges``).
"""

import os
import re
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SOURCE = re.compile(r"^[a-z0-9][a-z0-9_]{0,39}$")
VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]{0,63}$")
EXCHANGE = re.compile(r"^[a-z][a-z0-9]{1,39}$")
PAIR = re.compile(r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,12}(:[A-Z0-9]{1,12})?$")
IS_NOT_NUMBERS = {"api_key_env", "secret_env", "passphrase_env", "address", "rate_limit_ms", "hourly"}
"""Keys of a venue that move no number: who asks, where, how fast; and hourly candles, which no model reads yet."""


class Strict(BaseModel):
    """A table that knows its keys and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Strict):
    """What one night of asking exchanges may take: time, tries and bytes."""

    connect_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    read_seconds: Annotated[float, Field(gt=0, le=120)] = 20.0
    answer_seconds: Annotated[float, Field(gt=0, le=600)] = 90.0
    venue_seconds: Annotated[float, Field(gt=0, le=7200)] = 900.0
    total_seconds: Annotated[float, Field(gt=0, le=14_400)] = 3000.0
    retries: Annotated[int, Field(ge=0, le=5)] = 5
    first_wait_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    longest_wait_seconds: Annotated[float, Field(gt=0, le=60)] = 60.0
    longest_retry_after_seconds: Annotated[float, Field(gt=0, le=120)] = 120.0
    largest_answer_mib: Annotated[int, Field(ge=1, le=256)] = 64
    deepest_nesting: Annotated[int, Field(ge=4, le=200)] = 32
    most_pages: Annotated[int, Field(ge=1, le=5000)] = 500


class Venue(Strict):
    """One product of one exchange, and which of its symbols are our markets."""

    exchange: str
    product: Literal["spot", "perpetual"]
    symbols: dict[str, str]
    volume_unit: Literal["base", "quote_usd", "none"] = "base"
    address: str = ""
    rate_limit_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    hourly: bool = False
    api_key_env: str = ""
    secret_env: str = ""
    passphrase_env: str = ""

    @field_validator("exchange")
    @classmethod
    def _exchange(cls, value: str) -> str:
        if not EXCHANGE.match(value):
            raise ValueError(f"{value!r} is not the id of an exchange as ccxt has it, e.g. kraken")
        return value

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        is_plain = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
        if value and not (is_plain and parts.hostname and parts.path in ("", "/") and parts.username is None):
            raise ValueError(
                f"{parts.scheme}://{parts.hostname} is not https:// with a host alone, nor http:// on loopback"
            )
        return value.rstrip("/")

    @field_validator("api_key_env", "secret_env", "passphrase_env")
    @classmethod
    def _variable(cls, value: str) -> str:
        # The value is not repeated: it may be the credential itself, written in the wrong place.
        if value and not VARIABLE.match(value):
            raise ValueError("is not the name of an environment variable; the credential itself never stands here")
        return value

    @model_validator(mode="after")
    def _symbols(self) -> Self:
        if not self.symbols:
            raise ValueError("symbols names no market, e.g. symbols = { BTC = 'BTC/USDT' }")
        for market, symbol in self.symbols.items():
            if not PAIR.match(symbol):
                raise ValueError(f"symbols.{market}: {symbol!r} is no symbol, e.g. BTC/USDT or BTC/USDT:USDT")
            quote, _, settled = symbol.partition("/")[2].partition(":")
            if self.product == "spot" and settled:
                raise ValueError(f"symbols.{market}: {symbol!r} is a contract; product spot needs one without ':'")
            if self.product == "perpetual" and settled != quote:
                raise ValueError(
                    f"symbols.{market}: {symbol!r} is no linear perpetual, which is settled in its quote: "
                    f"{symbol.partition(':')[0]}:{quote}"
                )
        if len(set(self.symbols.values())) != len(self.symbols):
            raise ValueError("symbols: one series feeds two markets")
        if bool(self.api_key_env) != bool(self.secret_env):
            raise ValueError("api_key_env and secret_env go together")
        return self

    def credentials(self) -> dict[str, str]:
        """Return what is set of key, secret and passphrase, under the names that ccxt gives them."""
        named = {"apiKey": self.api_key_env, "secret": self.secret_env, "password": self.passphrase_env}
        return {name: os.environ[variable] for name, variable in named.items() if os.environ.get(variable)}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Source(Strict):
    """Where candles come from."""

    kind: Literal["bundled", "candles", "exchange"]
    name: str
    path: Path | None = None
    bar_close_grace_minutes: Annotated[int, Field(ge=0, le=1440)] = 30
    also: tuple[str, ...] = ()
    venue_of: dict[str, str] = {}
    is_reference: bool = False
    hourly: bool = False
    hourly_path: Path | None = None
    hourly_first_day: date | None = None
    hourly_overlap_hours: Annotated[int, Field(ge=3, le=10_000)] = 168
    history_first_day: date | None = None
    overlap_days: Annotated[int, Field(ge=3, le=1000)] = 150
    limits: Limits = Limits()
    venues: dict[str, Venue] = {}

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _source_id(value)

    @field_validator("also")
    @classmethod
    def _also(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _source_id(name)
        if len(set(value)) != len(value):
            raise ValueError("one source stands twice")
        return value

    @field_validator("venue_of")
    @classmethod
    def _venue_of(cls, value: dict[str, str]) -> dict[str, str]:
        for name in (*value, *value.values()):
            _source_id(name)
        return value

    @field_validator("venues")
    @classmethod
    def _venues(cls, value: dict[str, Venue]) -> dict[str, Venue]:
        for name in value:
            _source_id(name)
        return value

    @model_validator(mode="after")
    def _kind(self) -> Self:
        if self.kind == "exchange":
            if not self.venues:
                raise ValueError("kind exchange needs a [source.venues.NAME] table")
            if self.history_first_day is None:
                raise ValueError("kind exchange needs history_first_day: from when on candles are asked for")
            if self.name in self.venues:
                raise ValueError(f"name {self.name!r} is the name of a venue, too; call the whole otherwise")
        elif self.venues or self.history_first_day is not None:
            raise ValueError(f"venues and history_first_day are only for kind exchange, not {self.kind}")
        if self.also and self.kind != "candles":
            raise ValueError(f"also is only for kind candles, not {self.kind}")
        if self.name in self.also:
            raise ValueError(f"also: {self.name!r} is the source itself")
        unknown = sorted(set(self.venue_of) - set(self.ids()))
        if unknown:
            raise ValueError(f"venue_of: {', '.join(unknown)} is no source of this configuration")
        if self.is_reference and len(self.ids()) > 1:
            raise ValueError("is_reference: one source is the reference, or several vote; not both")
        self._check_hourly()
        return self

    def _check_hourly(self) -> None:
        if self.kind == "exchange":
            if self.hourly or self.hourly_path is not None:
                raise ValueError("hourly is said by each [source.venues.NAME]; hourly_path is for kind candles")
            return
        if self.hourly_first_day is not None:
            raise ValueError(f"hourly_first_day is only for kind exchange, not {self.kind}")
        if self.hourly and self.kind != "candles":
            raise ValueError(f"hourly needs kind candles or exchange, not {self.kind}")
        if self.hourly != (self.hourly_path is not None):
            raise ValueError("hourly = true and hourly_path go together")
        if self.hourly and self.hourly_path == self.path:
            raise ValueError("hourly_path is path, too; daily and hourly candles lie apart")

    @property
    def has_hourly(self) -> bool:
        """Whether hourly candles are taken from anywhere."""
        return self.hourly or any(venue.hourly for venue in self.venues.values())

    def id_of(self, market: str) -> str:
        """Return the id under which a market's price is stored: the first venue that has it, else the source."""
        if self.kind == "exchange":
            return next(name for name, venue in self.venues.items() if market in venue.symbols)
        return self.name

    def ids(self) -> tuple[str, ...]:
        """Return every id under which this source stores candles."""
        return tuple(self.venues) if self.kind == "exchange" else (self.name, *self.also)

    def ids_of(self, market: str) -> tuple[str, ...]:
        """Return every id that may have a market's candles, that of its price first."""
        if self.kind == "exchange":
            return tuple(name for name, venue in self.venues.items() if market in venue.symbols)
        return self.ids()

    def venues_by_id(self) -> dict[str, str]:
        """Return the venue of every id: products of one venue have one vote between them."""
        if self.kind == "exchange":
            found = {name: venue.exchange for name, venue in self.venues.items()}
        else:
            found = {name: name.partition("_")[0] for name in self.ids()}
        return found | self.venue_of

    def of_numbers(self) -> dict[str, Any]:
        """Return what moves numbers; other kinds keep the keys that they had before there were exchanges."""
        plain = self.model_dump(mode="json", include={"kind", "name", "bar_close_grace_minutes"})
        if self.also:
            # The order of witnesses says nothing; which there are does.
            plain["also"] = sorted(self.also)
        if self.venue_of:
            plain["venue_of"] = dict(sorted(self.venue_of.items()))
        if self.is_reference:
            plain["is_reference"] = True
        if self.kind != "exchange":
            return plain
        venues = {name: venue.model_dump(mode="json", exclude=IS_NOT_NUMBERS) for name, venue in self.venues.items()}
        # A list: the order says which venue is a market's price.
        more = self.model_dump(mode="json", include={"history_first_day", "overlap_days"})
        return plain | more | {"venues": [{"id": name, **venue} for name, venue in venues.items()]}


def _source_id(value: str) -> str:
    if not SOURCE.match(value):
        raise ValueError(f"{value!r} is not lower case letters, digits or '_' (at most 40)")
    return value
