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


class ImpliedConfidence(_Record):
    """What a set in force assumes."""

    symbol: str
    product: Literal["lending", "perpetual"]
    side: Side
    venue: str
    parameter: Literal["lt", "mm"]
    value_bps: Count = Field(description="in force")
    absorbed_drop: float | None = Field(description="adverse move of the price that the set absorbs, fraction")
    probability: Share | None = Field(description="share of past triggers that went beyond it; null: see the note")
    probability_note: str
    tail_probability: Share | None = Field(description="by the fitted tail, where the sample does not reach")
    latency_hours: float | None = Field(description="longest time from trigger to sale that it carries at 1 %")
    latency_note: str
    depth_usd: float | None = Field(description="largest liquidation that it carries at 1 %")
    depth_note: str


class SizeTier(_Record):
    """Margins of a perpetual for one range of sizes, billed marginally."""

    symbol: str
    side: Side
    tier: Count
    floor_usd: float
    ceiling_usd: float
    mm_bps: Count = Field(description="marginal maintenance rate")
    im_bps: Count
    max_leverage: Count
    maintenance_amount_usd: float = Field(description="billed margin is size times rate less this")


class ExposureCap(_Record):
    """Supply cap (long) or borrow cap (short) of a lending market."""

    symbol: str
    side: Side
    lt_bps: Count | None = Field(description="threshold that must be carried")
    lt_basis: Literal["in force", "target", "none"]
    cap_usd: float | None
    sale_usd: float | None = Field(description="of the cap, what is sold at once")
    binding: str
    bonus_cap_usd: float | None
    used_usd: float | None
    note: str


class Step(_Record):
    """What a venue's own limits let stand today of one parameter."""

    symbol: str
    product: Literal["lending", "perpetual"]
    side: Side
    parameter: str = Field(description="all where no set could be judged")
    venue: str
    venue_parameter: str
    outcome: str = Field(description="of the whole set")
    status: str = Field(description="of this parameter")
    in_force: int | None
    destination: int | None
    published: int | None = Field(description="what may stand today; null: nothing is published")
    steps: Count | None
    converges_on: str | None
    days_looser: Count | None = Field(description="days of the walk that end looser than required")
    reason: str


class Attribution(_Record):
    """Why a target moved since the last recommendation."""

    symbol: str
    product: Literal["lending", "perpetual"]
    side: Side
    parameter: Literal["lt", "mm"]
    since: str
    before_bps: int
    after_bps: int
    contributions_bps: dict[str, float] = Field(description="by driver; they sum to the change")


class Models(_Record):
    """Who is champion among the models of the daily excursion, and who comes near."""

    champion: str
    champion_since: str | None = Field(description="day of its approval; null: always")
    state: Literal["none", "watched", "due", "promoted"]
    stated_on: str = Field(description="day from which the state holds")
    candidate: str | None = Field(description="model nearest to promotion")
    quarters: Count = Field(description="for how many quarters in a row")
    held_against: str | None = Field(description="model whose disagreement widens the budget; null: none")
    reason: str


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
    models: Models | None = Field(description="null: no challenger runs, or no quarter has been judged")
    implied_confidence: list[ImpliedConfidence]
    size_tiers: list[SizeTier]
    exposure_caps: list[ExposureCap]
    path: list[Step]
    attribution: list[Attribution]
    checks: list[Check]
