"""The first page: the decision as a sentence, the table that it rests on, who acts, and what would change it.

What lives here: ranking, counting and wording of decisions. What does not: market pages (``pages``).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import words
from reports.view.inputs import ReportInputs

URGENCY = ("tighten", "withheld", "hold", "loosen", "new", "unchanged")
LEADING = {"lending": "lt", "perpetual": "mm"}
FOLLOWING = {"lending": "ltv", "perpetual": "im"}
SHORT = {"lt": "LT", "ltv": "LTV", "bonus": "bonus", "mm": "MM", "im": "IM", "max_leverage": "leverage"}
SIGNS = {"tighten": "▼", "loosen": "▲", "hold": "■", "withheld": "✗", "new": "●", "unchanged": "·"}
PAGE_ROWS = 6


@dataclass(frozen=True)
class DecisionRow:
    """One line of the decision table: a market, product and side, with its leading and its following parameter.

    Attributes
    ----------
    symbol, product, side, status
        What is decided.
    in_force, target, proposed, change
        The leading parameter, as shown.
    following
        The following parameter, now to proposed, as shown.
    coverage, why
        Achieved coverage in words, and one clause.
    is_held
        Whether a loosening of either parameter waits for a signature.
    raw
        Integers behind them.
    """

    symbol: str
    product: str
    side: str
    status: str
    sign: str
    parameter: str
    in_force: str
    target: str
    proposed: str
    change: str
    following: str
    coverage: str
    why: str
    is_held: bool
    raw: dict[str, int | None]

    @property
    def moved(self) -> str:
        """The parameter that moves, in words: the leading one, or the other where the leading one stands."""
        if self.change == "0" or (self.change == words.MISSING and self.status == "tighten"):
            return self.following.replace(" → ", " to ")
        if self.proposed == words.MISSING:
            return f"{self.parameter} {self.in_force} stays"
        return f"{self.parameter} {self.in_force} to {self.proposed}"


def _integer(value: object) -> int | None:
    return None if words.is_missing(value) else int(value)  # type: ignore[call-overload]


def coverage_words(coverage: pd.DataFrame, symbol: str, side: str, product: str) -> str:
    """Say what the estimator achieved on a market and side: own triggers, or the pool's where there are none."""
    series = "overshoot_24h_deep" if product == "lending" else "overshoot_24h"
    rows = coverage[
        (coverage["series"] == series)
        & (coverage["model"] == "estimator")
        & (coverage["side"] == side)
        & (coverage["tail_probability_bps"] == 100)
    ]
    own = rows[rows["scope"] == symbol]
    if own.empty:
        return "not available"
    row = own.iloc[0]
    text = f"{words.percent(1 - row['exception_rate'], 1)} of {words.count(row['observations'])}"
    return f"{text}, {row['zone']}" if row["zone"] != "not enough data" else f"{text}, few"


def rows(inputs: ReportInputs) -> list[DecisionRow]:
    """Decision rows of all markets, most urgent first."""
    order = {market.symbol: at for at, market in enumerate(inputs.markets)}
    found = []
    for key, mine in inputs.recommendations.groupby(["symbol", "product", "side"], sort=True):
        symbol, product, side = (str(part) for part in key)
        lead = mine[mine["parameter"] == LEADING[product]].iloc[0]
        follow = mine[mine["parameter"] == FOLLOWING[product]].iloc[0]
        status = row_status(str(lead["status"]), str(follow["status"]))
        now, then = _integer(lead["in_force"]), _integer(lead["proposed"])
        moved = lead if lead["status"] == status else follow
        why = str(moved["reason"]) if moved is lead else f"{SHORT[FOLLOWING[product]]}: {moved['reason']}"
        found.append(
            DecisionRow(
                symbol=words.plain(symbol),
                product=product,
                side=side,
                status=status,
                sign=SIGNS[status],
                parameter=SHORT[LEADING[product]],
                in_force=words.bps(now),
                target=words.bps(_integer(lead["target"])),
                proposed=words.bps(then),
                change=words.change(now, then),
                following=_following(product, follow),
                coverage=coverage_words(inputs.coverage, symbol, side, product),
                why=words.plain(why),
                is_held="hold" in (lead["status"], follow["status"]),
                raw={"in_force": now, "target": _integer(lead["target"]), "proposed": then},
            )
        )
    return sorted(found, key=lambda r: (URGENCY.index(r.status), order[r.symbol], r.product, r.side))


def row_status(lead: str, follow: str) -> str:
    """Name a set by its leading parameter, unless that stands still or the other one tightens."""
    return follow if lead == "unchanged" or follow == "tighten" else lead


def _following(product: str, row: pd.Series) -> str:
    name = SHORT[FOLLOWING[product]]
    now, then = words.bps(_integer(row["in_force"])), words.bps(_integer(row["proposed"]))
    if row["status"] in ("hold", "withheld"):
        return f"{name} {now}, {row['status']}"
    return f"{name} {then}" if now in (then, words.MISSING) else f"{name} {now} → {then}"


def headline(table: list[DecisionRow], *, is_withheld: bool) -> str:
    """Word the decision as a sentence with counts."""
    if is_withheld:
        return "Publication withheld: no threshold is proposed"
    counts = Counter(row.status for row in table)
    verbs = (("tighten", "tighten"), ("loosen", "loosen"), ("hold", "hold"), ("new", "set"), ("withheld", "withhold"))
    parts = [f"{verb} {_spelled(counts[status])}" for status, verb in verbs if counts[status]]
    if not parts:
        return "No change: every threshold in force stands"
    sentence = words.listing(parts)
    total = sum(counts.values())
    rest = f", leave {_spelled(counts['unchanged'])}" if counts["unchanged"] else ""
    return f"{sentence[0].upper()}{sentence[1:]}{rest} of {total} parameter sets"


def _spelled(count: int) -> str:
    names = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return names[count] if count < len(names) else str(count)


def answer(inputs: ReportInputs, table: list[DecisionRow]) -> list[str]:
    """Three sentences: what, why, and the one doubt."""
    if inputs.status == "withheld":
        return [
            f"Nothing is proposed because {words.plain(inputs.withheld_reason)}.",
            "Parameters in force stay as they are until the cause is mended and the day is run again.",
            "The numbers below are shown for diagnosis only.",
        ]
    asked = [row for row in table if row.status in ("tighten", "loosen")]
    if asked:
        moves = [f"{r.symbol} {r.product} {r.side} {r.moved}" for r in asked]
        more = [f"{len(moves) - 3} more"] if len(moves) > 3 else []
        what = "Asked: " + words.listing(moves[:3] + more) + "."
    else:
        what = "No parameter in force is asked to move."
    return [what, _why(inputs), _doubt(inputs)]


def _why(inputs: ReportInputs) -> str:
    newest = inputs.forecasts.groupby("symbol").tail(1)
    newest = newest[newest["sigma_long_run_daily"] > 0]
    parts = []
    for row in words.records(newest):
        ratio = row.sigma_daily / row.sigma_long_run_daily
        parts.append(
            (
                abs(ratio - 1),
                f"{words.plain(row.symbol)} {words.percent(row.sigma_daily)} a day, {ratio:.1f} times its long-run level",
            )
        )
    top = [text for _, text in sorted(parts, reverse=True)[:2]]
    return (
        "Why: the budget follows forecast volatility or its ten-year level, whichever is larger; today "
        + words.listing(top)
        + "."
        if top
        else "No market has a forecast yet."
    )


def _doubt(inputs: ReportInputs) -> str:
    pooled = inputs.coverage
    if len(pooled):
        pooled = pooled[
            (pooled["scope"] == "POOLED")
            & (pooled["series"] == "overshoot_24h")
            & (pooled["model"] == "estimator")
            & (pooled["tail_probability_bps"] == 100)
        ]
    if not len(pooled):
        return "Doubt: no trigger has been judged yet, so how often such thresholds fail is unknown."
    worst = pooled.sort_values("exception_rate").iloc[-1]
    return (
        f"Doubt: given a trigger, the 99 % overshoot estimate failed {words.percent(worst['exception_rate'], 1)} of the time on "
        f"the {worst['side']} side ({words.count(worst['exceptions'])} of {words.count(worst['observations'])} triggers, 90 % interval "
        f"{words.percent(worst['interval_low'], 1)} to {words.percent(worst['interval_high'], 1)}); "
        "horizons below one day are scaled, not tested."
    )


def actions(inputs: ReportInputs, table: list[DecisionRow]) -> list[tuple[str, str, str]]:
    """Who does what by when."""
    asked = [row for row in table if row.status in ("tighten", "loosen", "new")]
    held = [row for row in table if row.is_held]
    due = (pd.Timestamp(inputs.as_of) + pd.Timedelta(days=1)).strftime("%Y-%m-%d 16:00 UTC")
    if inputs.status == "withheld":
        return [("Operator", "Mend the failed check, run the day again", due)]
    out = []
    if asked:
        out.append(("Risk committee", f"Approve, amend or reject {len(asked)} proposed set(s)", due))
    if held:
        out.append(("Risk committee", f"Sign or decline {len(held)} held loosening(s)", "no deadline"))
    if any(row.status == "withheld" for row in table):
        out.append(("Operator", "Mend the data of withheld markets", due))
    if asked:
        out.append(("Venue steward", "Apply approved sets within the venue's step limits", "after approval"))
    return out or [("Nobody", "Nothing is due", words.MISSING)]


def ladder(inputs: ReportInputs) -> list[dict[str, str]]:
    """Margins and leverage of every perpetual set, changes first: what a trading desk reads on a phone."""
    rows = []
    perpetual = inputs.recommendations[inputs.recommendations["product"] == "perpetual"]
    for (symbol, side), mine in perpetual.groupby(["symbol", "side"], sort=True):
        by = {str(row.parameter): row for row in words.records(mine)}
        status = row_status(str(by["mm"].status), str(by["im"].status))
        rows.append(
            (
                URGENCY.index(status),
                {
                    "symbol": words.plain(symbol),
                    "side": str(side),
                    "status": status,
                    "mm": _step(by["mm"], words.bps),
                    "im": _step(by["im"], words.bps),
                    "leverage": _step(by["max_leverage"], words.count),
                },
            )
        )
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _step(row: Any, shown: Callable[[Any], str]) -> str:
    now = shown(_integer(row.in_force))
    if row.status in ("hold", "withheld"):
        return f"{now} {row.status}"
    then = shown(_integer(row.proposed))
    return then if now in (then, words.MISSING) else f"{now} → {then}"


def triggers(inputs: ReportInputs) -> list[str]:
    """List what would change this advice."""
    out = ["A newer bar: every number is computed again each night"]
    newest = inputs.forecasts.groupby("symbol").tail(1)
    calm = newest[newest["sigma_daily"] < newest["sigma_long_run_daily"]]
    if len(calm):
        names = words.listing([words.plain(s) for s in calm["symbol"].head(4)])
        out.append(f"Volatility above its long-run level in {names}: until then the floor decides")
    hot = newest[newest["sigma_daily"] >= newest["sigma_long_run_daily"]]
    if len(hot):
        names = words.listing([words.plain(s) for s in hot["symbol"].head(4)])
        out.append(f"Volatility falling in {names}: today the forecast decides, not the floor")
    ours = inputs.coverage[inputs.coverage["model"].isin(["estimator", "budget", "published"])]
    if ours["verdict"].eq("rejected: too many").any():
        out.append("A recalibration where our own rows of the backtest say 'rejected: too many' (market pages)")
    return out
