"""The shape of ``decision.json``: what machines may rely on.

What lives here: one model a kind of record, from which ``docs/decision_schema.json`` is written. What does not: filling
it (``build``).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "plimsoll.decision/1"

Share = Annotated[float, Field(ge=0, le=1)]
Correlated = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]
Side = Literal["long", "short"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recommendation(_Record):
    """One parameter of one market, product and side."""

    symbol: str = Field(description="canonical market id")
    product: Literal["lending", "perpetual"]
    side: Side
    parameter: Literal["lt", "ltv", "bonus", "mm", "im", "max_leverage"]
    unit: Literal["bps", "times"] = Field(description="of in_force, target and proposed")
    in_force: int | None = Field(description="null: none in force")
    target: int | None = Field(description="what the loss budget gives; null: not enough data or withheld")
    proposed: int | None = Field(description="what the committee is asked to set; null: nothing")
    status: Literal["tighten", "loosen", "unchanged", "hold", "new", "withheld"]
    reason: str
    implied_probability: Share | None = Field(
        description="share of past triggers that go beyond what the value in force absorbs; leading parameters only"
    )
    implied_note: str = Field(description="e.g. below 1/2046, where no past trigger went beyond")


class Coverage(_Record):
    """How often one limit failed."""

    scope: str = Field(description="market id, or POOLED")
    side: Side
    series: str = Field(description="overshoot_24h, overshoot_24h_deep, var_close or excursion")
    model: str = Field(description="whose limit: estimator, budget, published, or a baseline")
    tail_probability_bps: Count = Field(description="nominal rate of exceptions")
    observations: Count
    exceptions: Count
    coverage: Share | None = Field(description="one less the rate of exceptions")
    largest_exception: float | None = Field(description="beyond the limit, log")
    average_exception: float | None = Field(description="beyond the limit, log")
    kupiec_p: Share | None
    independence_p: Share | None
    power_double: Share | None = Field(description="chance that the test notices twice the nominal rate")
    zone: str | None = Field(description="Basel zone")
    verdict: str


class Correlation(_Record):
    """How two markets move together; no threshold is made of it."""

    symbol: str = Field(description="canonical market id, the earlier one in the alphabet")
    other_symbol: str
    shared_days: Count = Field(description="days that both have; too few give null")
    dynamic: Correlated | None = Field(description="DCC, for the session after as_of")
    all_days: Correlated | None
    shrunk: Correlated | None = Field(description="Ledoit and Wolf, over the days that all markets share")
    stress: Correlated | None = Field(description="on the worst days of the lead market")
    stress_if_unchanged: Correlated | None = Field(description="on them, had nothing but the choice of days changed")
    tail_dependence: Share | None = Field(description="lower, of the t copula")
    tail_dependence_counted: Share | None = Field(description="share of common days among the worst 5 %")


class Check(_Record):
    """One check of the store, as verified when the report was made."""

    name: str
    is_blocking: bool
    is_passed: bool
    detail: str


class Decision(_Record):
    """The decision of one day for machines: the numbers of the PDF, no clock, no run id."""

    schema_: Literal["plimsoll.decision/1"] = Field(alias="schema")
    as_of: str = Field(description="last day whose data were used, YYYY-MM-DD")
    profile: str
    status: Literal["proposed", "withheld"]
    withheld_reason: str
    headline: str
    decision_id: str = Field(description="hash of configuration, method, day, prices, recommendations and coverage")
    methodology: str
    config_hash: str
    recommendations: list[Recommendation]
    backtest: list[Coverage]
    correlations: list[Correlation]
    checks: list[Check]
