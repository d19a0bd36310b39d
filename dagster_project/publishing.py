"""Publishing: the table ``[publication]`` of a configuration.

What lives here: how long a loosening must be confirmed, and what somebody has signed. What does not: how large a
loosening may be without a signature and hysteresis (``[budget]``), the walk (``plimsoll.publication``).
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from dagster_project.sources import Strict
from plimsoll.venues import VenueProfile


class Signed(Strict):
    """The loosest value of one parameter that a signature allows; nothing loosens beyond it, by however little."""

    market: str
    product: Literal["lending", "perpetual"]
    side: Literal["long", "short"]
    parameter: str
    value: Annotated[int, Field(ge=0, le=10**12)]
    by: Annotated[str, Field(min_length=2, max_length=80)]
    on: date


class PublicationKnobs(Strict):
    """When a target may be published."""

    confirmation_days: Annotated[int, Field(ge=0, le=365)] = 14
    signed: tuple[Signed, ...] = ()

    def refuse_unknown(self, profiles: Mapping[tuple[str, str], VenueProfile]) -> None:
        """Refuse signatures for what no venue of the configuration has.

        Parameters
        ----------
        profiles
            Profile by market and product.

        Raises
        ------
        ValueError
            Names the signature and what is known.
        """
        seen = set()
        for one in self.signed:
            where = f"publication.signed: {one.market} {one.product} {one.side} {one.parameter}"
            profile = profiles.get((one.market, one.product))
            if profile is None:
                raise ValueError(f"{where}: no [markets.{one.market}.{one.product}] in this configuration")
            try:
                key = profile.parameter(one.parameter).key
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            if (one.market, one.product, one.side, key) in seen:
                raise ValueError(f"{where}: signed twice; keep the one that holds")
            seen.add((one.market, one.product, one.side, key))

    def of(self, profile: VenueProfile, market: str, side: str, day: date) -> dict[str, int]:
        """Return what is signed for one set on a day, by key."""
        return {
            profile.parameter(one.parameter).key: one.value
            for one in self.signed
            if (one.market, one.product, one.side) == (market, profile.product, side) and one.on <= day
        }
