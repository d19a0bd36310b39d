"""Order books, as configured: where snapshots lie, whose symbols are which of our markets, what is taken to be gone.

What lives here: the table ``[order_books]``. What does not: reading snapshots (``order_book_files``), what they say of
a size (``plimsoll.slippage``).
"""

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from dagster_project.sources import SOURCE, Strict
from plimsoll.slippage import STRESS_HAIRCUT
from plimsoll.slippage.admission import MAXIMUM_AGE_DAYS


class OrderBooks(Strict):
    """Snapshots of order books that are dropped as files."""

    path: Path = Field(exclude=True)
    """File or folder; no number depends on where it lies."""
    venues: dict[str, dict[str, str]]
    """By venue, the symbol in its files by our market: ``{binance_spot = {BTC = "BTCUSDT"}}``."""
    max_age_days: Annotated[float, Field(gt=0, le=31)] = MAXIMUM_AGE_DAYS
    depth_haircut: Annotated[float, Field(ge=0, lt=1)] = STRESS_HAIRCUT

    @field_validator("venues")
    @classmethod
    def _ids(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for venue in value:
            if not SOURCE.match(venue):
                raise ValueError(f"{venue!r} is not lower case letters, digits or '_' (at most 40)")
        return value

    @model_validator(mode="after")
    def _symbols(self) -> Self:
        if not any(self.venues.values()):
            raise ValueError('venues names no symbol, e.g. venues = { binance_spot = { BTC = "BTCUSDT" } }')
        for venue, symbols in self.venues.items():
            if len(set(symbols.values())) != len(symbols):
                raise ValueError(f"venues.{venue}: one book feeds two markets")
            for market, theirs in symbols.items():
                if not theirs.strip():
                    raise ValueError(f"venues.{venue}.{market}: an empty symbol")
        return self

    def refuse_unknown(self, markets: Container[str]) -> None:
        """Refuse books of markets that are not configured.

        Raises
        ------
        ValueError
            Names the venue and the market.
        """
        for venue, symbols in self.venues.items():
            for market in symbols:
                if market not in markets:
                    raise ValueError(
                        f"order_books.venues.{venue}.{market}: no [markets.{market}] in this configuration"
                    )

    def market_of(self, venue: str, symbol: str) -> str | None:
        """Return our market of a venue's symbol, or None."""
        return next((ours for ours, theirs in self.venues.get(venue, {}).items() if theirs == symbol), None)
