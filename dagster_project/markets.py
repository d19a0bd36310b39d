"""Markets: what is configured of one market, its uses and the parameters in force.

What lives here: the tables ``[markets.X]`` and below. What does not: the other tables (``settings``), where candles
come from (``sources``), what a venue allows (``venue_files``).
"""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dagster_project.sources import Strict as _Strict
from plimsoll.caps import CLUSTER_SHARE, COTRIGGERED_SHARE
from plimsoll.liquidation import rounds

SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9._-]{0,19}$")

Fraction = Annotated[float, Field(gt=0, lt=1)]
Bps = Annotated[int, Field(ge=0, le=1_000_000)]


class LendingInForce(_Strict):
    """Parameters in force at a lending venue, as basis points, with the day they were read."""

    venue: str
    read_on: date
    lt_bps: Annotated[int, Field(gt=0, lt=10_000)]
    ltv_bps: Annotated[int, Field(gt=0, lt=10_000)]
    bonus_bps: Bps

    @model_validator(mode="after")
    def _coupling(self) -> Self:
        if self.ltv_bps >= self.lt_bps:
            raise ValueError(f"ltv_bps {self.ltv_bps} must lie below lt_bps {self.lt_bps}")
        if self.lt_bps * (10_000 + self.bonus_bps) > 10_000 * 10_000:
            raise ValueError(f"lt_bps {self.lt_bps} with bonus_bps {self.bonus_bps}: LT x (1 + bonus) exceeds 1")
        return self


class PerpetualInForce(_Strict):
    """Margins in force at a perpetual venue for the design size, as basis points."""

    venue: str
    read_on: date
    mm_bps: Annotated[int, Field(gt=0, lt=10_000)]
    im_bps: Annotated[int, Field(gt=0, le=10_000)]

    @model_validator(mode="after")
    def _coupling(self) -> Self:
        if self.im_bps <= self.mm_bps:
            raise ValueError(f"im_bps {self.im_bps} must lie above mm_bps {self.mm_bps}")
        return self


Hours = Annotated[float, Field(ge=0, le=24)]


class Latency(_Strict):
    """What the time from trigger to execution is made of, without the time to sell (M-11)."""

    oracle_hours: Hours
    keeper_hours: Hours
    auction_hours: Hours = 0.0
    round_hours: Hours = 0.0
    close_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    remaining_share: Fraction = 0.05

    @property
    def selling_hours(self) -> float:
        """Auction, or rounds of partial liquidation until no more than ``remaining_share`` is left."""
        return self.auction_hours + self.round_hours * rounds(self.close_factor, self.remaining_share)

    @property
    def total_hours(self) -> float:
        """Sum of the parts."""
        return self.oracle_hours + self.keeper_hours + self.selling_hours


class Pool(_Strict):
    """A constant-product pool in which collateral may be sold, with the day it was read."""

    read_on: date
    base_units: Annotated[float, Field(gt=0)]
    usd: Annotated[float, Field(gt=0)]
    fee: Annotated[float, Field(ge=0, lt=0.1)] = 0.003


class Exposure(_Strict):
    """Who holds how much of a lending market: what its caps are judged by."""

    supplied_usd: Annotated[float, Field(gt=0)] | None = None
    borrowed_usd: Annotated[float, Field(gt=0)] | None = None
    largest_wallets_share: Fraction = CLUSTER_SHARE
    co_triggered_share: Annotated[float, Field(ge=0, lt=1)] = COTRIGGERED_SHARE


class Use(_Strict):
    """What both uses of a market have in common."""

    notional_usd: Annotated[float, Field(gt=0)]
    horizon_hours: Annotated[float, Field(gt=0, le=24)] = 1.0
    latency: Latency | None = None
    oracle_age_hours: Hours = 0.0
    pool: Pool | None = None

    @model_validator(mode="after")
    def _one_horizon(self) -> Self:
        plain = type(self).model_fields["horizon_hours"].default
        if self.latency is not None and self.horizon_hours not in (plain, self.latency.total_hours):
            raise ValueError(
                f"horizon_hours {self.horizon_hours:g} beside [latency], whose parts sum to "
                f"{self.latency.total_hours:g}: say one of them"
            )
        if self.latency is not None and not 0 < self.latency.total_hours <= 24:
            raise ValueError(f"latency sums to {self.latency.total_hours:g} hours: must lie above 0 and within a day")
        return self

    @property
    def base_hours(self) -> float:
        """Trigger to execution without the time to sell."""
        return self.horizon_hours if self.latency is None else self.latency.total_hours


class Lending(Use):
    """The market as collateral (long side) or as debt (short side)."""

    venue: str = "aave_v3"
    bonus_notional_usd: Annotated[float, Field(gt=0)] | None = None
    exposure: Exposure = Exposure()
    tail_probability_bps: Literal[500, 100, 50, 10] = 100
    oracle_deviation: Annotated[float, Field(ge=0, lt=0.2)] = 0.005
    fee: Annotated[float, Field(ge=0, lt=0.1)] = 0.001
    in_force: LendingInForce | None = None


class OpenInterest(_Strict):
    """Open interest of a perpetual now, and where its initial margin begins to scale and must be fully paid."""

    usd: Annotated[float, Field(ge=0)]
    lower_usd: Annotated[float, Field(ge=0)]
    upper_usd: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.lower_usd < self.upper_usd:
            raise ValueError(f"upper_usd {self.upper_usd:g} must lie above lower_usd {self.lower_usd:g}")
        return self


class Perpetual(Use):
    """The market as a perpetual, margined in dollars (linear) or in the coin (inverse)."""

    venue: str = "binance_usdm"
    horizon_hours: Annotated[float, Field(gt=0, le=24)] = 0.25
    contract: Literal["linear", "inverse"] = "linear"
    largest_notional_usd: Annotated[float, Field(gt=0)] | None = None
    open_interest: OpenInterest | None = None
    tail_probability_bps: Literal[500, 100, 50, 10] = 100
    oracle_deviation: Annotated[float, Field(ge=0, lt=0.2)] = 0.0025
    fee: Annotated[float, Field(ge=0, lt=0.1)] = 0.0005
    funding_p95_per_8h: Annotated[float, Field(ge=0, lt=0.1)] = 0.0003
    in_force: PerpetualInForce | None = None


class Market(_Strict):
    """One market: identity, calendar, class, liquidity and what it is used for."""

    name: str
    source_symbol: str | None = None
    calendar: str
    market_class: Literal["major", "large", "other", "stable"] = "other"
    is_close_only: bool = False
    listing_days_dropped: Annotated[int, Field(ge=0, le=60)] = 10
    assumed_adv_usd: Annotated[float, Field(gt=0)] | None = None
    adv_haircut: Annotated[float, Field(ge=0, lt=1)] = 0.0
    note: str = ""
    lending: Lending | None = None
    perpetual: Perpetual | None = None

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.lending is None and self.perpetual is None:
            raise ValueError("needs a [lending] or a [perpetual] table: a market without use has no threshold")
        return self
