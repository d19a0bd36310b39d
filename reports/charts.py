"""Charts: figures as deterministic SVG with a sentence for those who cannot see them.

What lives here: drawing. What does not: which numbers (``view``). Matplotlib is imported inside functions: it costs
half a second that a table needs not pay.
"""

import io
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from reports import fonts

INK, BLUE, RED, AMBER, GREEN, GREY, PALE = "#1c2733", "#0b5cad", "#c2410c", "#8a5a00", "#176b32", "#7b8794", "#dfe4ea"
PARTS = ("#0b5cad", "#5b8def", "#8a5a00", "#b7791f", "#7b8794")
POINTS = 800
SIDE_COLOURS = {"long": RED, "short": BLUE}


@dataclass(frozen=True)
class Chart:
    """A figure: SVG text and the sentence that says what it shows."""

    svg: str = field(repr=False)
    alt: str


def _style() -> Any:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "plimsoll",
        "text.parse_math": False,
        "font.family": fonts.FAMILY,
        "font.size": 8,
        "axes.edgecolor": GREY,
        "axes.linewidth": 0.5,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 8.5,
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "axes.titleweight": "bold",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "grid.linewidth": 0.5,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "lines.linewidth": 0.9,
        "lines.solid_joinstyle": "round",
        "path.simplify": True,
    }


@dataclass(frozen=True)
class _Room:
    """Room around and between the panels of a figure, in millimetres: fitting it anew costs as much as drawing."""

    left: float = 13.0
    right: float = 1.5
    top: float = 5.0
    bottom: float = 6.5
    between_rows: float = 4.0
    between_columns: float = 6.0


def _figure(
    width_mm: float, height_mm: float, rows: int = 1, columns: int = 1, room: _Room | None = None, **grid: Any
) -> tuple[Any, Any]:
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    # One file carries every weight, but matplotlib looks for a file a weight.
    file = str(fonts.folder() / fonts.FILES["normal"])
    ours = [font_manager.FontEntry(file, 0, fonts.FAMILY, weight=weight) for weight in (400, 700)]
    manager = font_manager.fontManager
    if ours[0] not in manager.ttflist:
        manager.ttflist = [entry for entry in manager.ttflist if entry.name != fonts.FAMILY] + ours
    mpl.rcParams.update(_style())
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4))
    given = room or _Room()
    inner_width = (width_mm - given.left - given.right - (columns - 1) * given.between_columns) / columns
    inner_height = (height_mm - given.top - given.bottom - (rows - 1) * given.between_rows) / rows
    figure.subplots_adjust(
        left=given.left / width_mm,
        right=1 - given.right / width_mm,
        top=1 - given.top / height_mm,
        bottom=given.bottom / height_mm,
        wspace=given.between_columns / inner_width,
        hspace=given.between_rows / inner_height,
    )
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Keep the smallest and largest value of each of ``points / 2`` stretches, so that no peak is lost."""
    keep = np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points // 2 + 1).astype(int)
    chosen: list[int] = []
    for low, high in pairwise(edges):
        part = y[low:high]
        chosen += sorted({low + int(part.argmin()), low + int(part.argmax())})
    return x[chosen], y[chosen]


def _dates(axis: Any, years: float) -> None:
    import matplotlib.dates as days

    typed: Any = days
    locator = typed.YearLocator(max(1, round(years / 5))) if years > 2.5 else typed.MonthLocator(bymonth=(1, 5, 9))
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(
        typed.ConciseDateFormatter(
            locator,
            show_offset=False,
            formats=["%Y", "%b %y", "%d %b", "", "", ""],
            zero_formats=["%Y", "%b %y", "%b", "", "", ""],
        )
    )


def sparkline(close: np.ndarray) -> Chart:
    """Draw a year of closes, without axes."""
    figure, axes = _figure(22, 6, room=_Room(0.5, 0.5, 0.5, 0.5))
    axis = axes[0, 0]
    axis.axis("off")
    x, y = thinned(np.arange(len(close), dtype=float), close, 120)
    axis.plot(x, y, color=INK, linewidth=0.7)
    if len(y):
        axis.plot(x[-1:], y[-1:], "o", color=RED, markersize=2)
    if len(close) < 2:
        return Chart(_svg(figure), "No year of prices yet.")
    return Chart(_svg(figure), f"Last year's price moved {100 * (close[-1] / close[0] - 1):.0f} percent.")


def overview(panels: list[dict[str, Any]]) -> Chart:
    """Draw price, volatility and liquidation threshold of up to four markets, one scale across each row.

    Parameters
    ----------
    panels
        ``symbol, price (date, close_usd), forecasts (target_date, sigma_annual), thresholds (target_date, value),
        in_force``.
    """
    columns = len(panels)
    figure, axes = _figure(178, 56, 3, columns, _Room(left=20, between_rows=3.5), sharey="row", sharex="col")
    sentences = []
    for at, panel in enumerate(panels):
        price = panel["price"]
        close = price["close_usd"].to_numpy(float)
        axes[0, at].set_title(panel["symbol"])
        axes[0, at].plot(*thinned(price["date"].to_numpy(), 100 * close / close[0]), color=INK)
        sigma = panel["forecasts"]
        axes[1, at].plot(
            *thinned(sigma["target_date"].to_numpy(), sigma["sigma_annual"].to_numpy(float) * 100), color=BLUE
        )
        lines = panel["thresholds"]
        axes[2, at].plot(*thinned(lines["target_date"].to_numpy(), lines["value"].to_numpy(float)), color=RED)
        if panel["in_force"] is not None:
            axes[2, at].axhline(panel["in_force"], color=INK, linestyle="--", linewidth=0.8)
        years = (price["date"].iloc[-1] - price["date"].iloc[0]).days / 365
        _dates(axes[2, at], years)
        now = (
            f"{lines['value'].iloc[-1]:.1f} percent"
            if len(lines) and np.isfinite(lines["value"].iloc[-1])
            else "unknown"
        )
        sentences.append(
            f"{panel['symbol']}: price {close[-1] / close[0] * 100:.0f} percent of three years ago, "
            f"volatility {100 * sigma['sigma_annual'].iloc[-1]:.0f} percent a year, {panel['label']} {now}"
        )
    axes[0, 0].set_ylabel("Price\n(first = 100)")
    axes[1, 0].set_ylabel("Volatility\n(% a year)")
    axes[2, 0].set_ylabel(f"{panels[0]['axis']}\n(%)")
    figure.align_ylabels()
    return Chart(_svg(figure), "; ".join(sentences) + ".")


def history(
    symbol: str, prices: pd.DataFrame, triggers: pd.DataFrame, marks: pd.DataFrame, events: pd.DataFrame
) -> Chart:
    """Draw the price with trigger days as ticks below it and breach days marked, and each breach against its limit.

    Parameters
    ----------
    symbol
        Market.
    prices
        ``date, close_usd``.
    triggers
        ``target_date, side`` of all triggers.
    marks
        ``target_date, side`` of breaches of the estimator at one percent.
    events
        ``target_date, side, overshoot_sigma`` of breaches to draw below, in sigmas, with their ``limit_sigma``.
    """
    figure, axes = _figure(178, 49, 2, 1, _Room(between_rows=6.5), sharex=True, height_ratios=[3, 2])
    top, bottom = axes[0, 0], axes[1, 0]
    top.plot(*thinned(prices["date"].to_numpy(), prices["close_usd"].to_numpy(float)), color=INK)
    top.set_yscale("log")
    top.set_title("Price (log scale), triggers (ticks) and days beyond the 99 % limit")
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.yaxis.set_minor_locator(NullLocator())
    top.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}".replace(",", " ") if v >= 10 else f"{v:g}"))
    for side, foot in (("long", 0.0), ("short", 0.06)):
        _ticks(top, triggers.loc[triggers["side"] == side, "target_date"].to_numpy(), foot, SIDE_COLOURS[side])
    for side, shape in (("long", "v"), ("short", "^")):
        days = marks.loc[marks["side"] == side, "target_date"]
        at = prices[prices["date"].isin(days)]
        top.plot(
            at["date"].to_numpy(),
            at["close_usd"].to_numpy(float),
            shape,
            color=SIDE_COLOURS[side],
            markersize=4,
            label=f"{side} breach ({len(at)})",
        )
        mine = events[events["side"] == side]
        if len(mine):
            bottom.vlines(
                mine["target_date"].to_numpy(),
                mine["limit_sigma"].to_numpy(float),
                mine["overshoot_sigma"].to_numpy(float),
                color=SIDE_COLOURS[side],
                linewidth=1,
            )
            bottom.plot(
                mine["target_date"].to_numpy(),
                mine["overshoot_sigma"].to_numpy(float),
                shape,
                color=SIDE_COLOURS[side],
                markersize=3,
            )
    if len(marks):
        top.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, frameon=False, fontsize=7.5, borderpad=0)
    bottom.set_title("Those days: from the limit to what happened, in daily sigmas")
    if len(marks):
        bottom.set_ylim(bottom=0)
        bottom.yaxis.set_major_locator(MaxNLocator(4))
    else:
        bottom.set_yticks([])
        bottom.text(
            0.01,
            0.5,
            "No trigger went beyond its limit, or no trigger is known",
            transform=bottom.transAxes,
            color=GREY,
        )
    _dates(bottom, (prices["date"].iloc[-1] - prices["date"].iloc[0]).days / 365)
    counts = {side: int((marks["side"] == side).sum()) for side in ("long", "short")}
    return Chart(
        _svg(figure),
        f"{symbol}: {len(prices)} closes from {prices['date'].iloc[0].date()} to {prices['date'].iloc[-1].date()}; "
        f"{len(triggers)} triggers, and {counts['long']} long and {counts['short']} short breaches of the 99 percent "
        "limit given one.",
    )


def _ticks(axis: Any, days: np.ndarray, foot: float, colour: str) -> None:
    """Draw a short tick a day at the foot of a panel, all of them as one path."""
    if len(days):
        x = np.repeat(np.sort(days), 3)
        y = np.tile([foot, foot + 0.045, np.nan], len(days))
        axis.plot(x, y, color=colour, linewidth=0.2, alpha=0.6, transform=axis.get_xaxis_transform())


def path(symbol: str, lines: list[dict[str, Any]]) -> Chart:
    """Draw published parameters through time, with the value in force dashed.

    Parameters
    ----------
    symbol
        Market.
    lines
        ``title, series [(label, dates, values, colour)], in_force``: one panel each.
    """
    figure, axes = _figure(178, 33, 1, len(lines), _Room(left=9, between_columns=12))
    sentences = []
    for axis, line in zip(axes[0], lines, strict=True):
        for label, dates, values, colour in line["series"]:
            x, y = thinned(dates, values)
            axis.plot(x, y, color=colour, label=label)
            if len(y):
                sentences.append(
                    f"{line['title']} {label} between {y.min():.1f} and {y.max():.1f} percent, now {y[-1]:.2f}"
                )
                years = (pd.Timestamp(x[-1]) - pd.Timestamp(x[0])).days / 365
                _dates(axis, years)
        if line["in_force"] is not None:
            axis.axhline(line["in_force"], color=INK, linestyle="--", linewidth=0.8, label="in force")
        axis.set_title(line["title"])
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 0.97),
            ncols=3,
            frameon=False,
            fontsize=7,
            handlelength=1.4,
            borderpad=0,
        )
    return Chart(_svg(figure), f"{symbol}: " + "; ".join(sentences) + ".")


def budget(symbol: str, bars: list[tuple[str, list[tuple[str, float]]]]) -> Chart:
    """Draw the loss budget of each product and side as a stacked bar, in percent of log price."""
    figure, axes = _figure(178, 17 + 6 * len(bars), room=_Room(left=24, right=4, bottom=10.5))
    axis = axes[0, 0]
    names: list[str] = []
    for row, (_, parts) in enumerate(bars):
        left = 0.0
        for at, (name, value) in enumerate(parts):
            axis.barh(
                row, 100 * value, left=left, height=0.62, color=PARTS[at], label=name if name not in names else None
            )
            names.append(name)
            left += 100 * value
        axis.text(left, row, f"  {left:.2f}", va="center", fontsize=7.5, color=INK)
    axis.set_yticks(range(len(bars)), [name for name, _ in bars])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.margins(x=0.08)
    axis.set_xlabel("log loss budget, %")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False, fontsize=7.5)
    sums = "; ".join(f"{name} {100 * sum(v for _, v in parts):.2f} percent" for name, parts in bars)
    return Chart(_svg(figure), f"{symbol}, loss budget in all: {sums}.")


def png(figure_panels: list[dict[str, Any]]) -> bytes:
    """Draw the overview as a PNG for mail programs, which show no SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({**_style(), "font.family": "DejaVu Sans", "font.size": 7})
    figure = Figure(figsize=(6.4, 2.0), dpi=160, layout="constrained")
    axes = figure.subplots(1, len(figure_panels), squeeze=False, sharey=True)
    for axis, panel in zip(axes[0], figure_panels, strict=True):
        lines = panel["thresholds"]
        axis.plot(*thinned(lines["target_date"].to_numpy(), lines["value"].to_numpy(float)), color=RED)
        if panel["in_force"] is not None:
            axis.axhline(panel["in_force"], color=INK, linestyle="--", linewidth=0.8)
        axis.set_title(f"{panel['symbol']}: {panel['label']}, %", fontsize=7)
        _dates(axis, 3)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


RULE_COLOURS = {
    "recommended": RED,
    "quantile_form": AMBER,
    "historical_simulation": GREEN,
    "ewma": GREY,
    "textbook": BLUE,
    "in_force": INK,
}


def policies(panels: list[dict[str, Any]]) -> Chart:
    """Draw mean threshold against breach rate of each rule over all factors, its own size marked.

    Parameters
    ----------
    panels
        ``title, lines [(rule, name, x, y, is_own)]``, one panel each; x and y in percent.
    """
    return _rules(panels, "breaches, % of triggers (log)", "mean threshold, %", is_log=True)


def trade_off(panels: list[dict[str, Any]]) -> Chart:
    """Draw unnecessary against missed liquidations of each rule over all factors, its own size marked."""
    return _rules(panels, "missed, % of insolvencies", "unnecessary, % of liquidations", is_log=False)


def _rules(panels: list[dict[str, Any]], x_label: str, y_label: str, *, is_log: bool) -> Chart:
    figure, axes = _figure(178, 50, 1, len(panels), _Room(left=10, right=3, top=10.5, bottom=11, between_columns=9))
    sentences = []
    for axis, panel in zip(axes[0], panels, strict=True):
        for rule, name, x, y, is_own in panel["lines"]:
            kept = x > 0 if is_log else np.isfinite(x)
            axis.plot(x[kept], y[kept], color=RULE_COLOURS.get(rule, GREY), linewidth=0.8, label=name)
            own = is_own & kept
            axis.plot(x[own], y[own], "o", color=RULE_COLOURS.get(rule, GREY), markersize=2.6)
            if is_own.any():
                sentences.append(f"{panel['title']} {name}: {x[is_own][0]:.1f} and {y[is_own][0]:.1f} percent")
        if is_log:
            axis.set_xscale("log")
            axis.set_xlim(0.05, 100)
            axis.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
            axis.minorticks_off()
        axis.set_title(panel["title"])
        axis.set_xlabel(x_label, fontsize=7)
    axes[0][0].set_ylabel(y_label, fontsize=7)
    _legend_above(figure, axes[0][0])
    return Chart(_svg(figure), f"{y_label} against {x_label}, each rule at its own size. " + "; ".join(sentences) + ".")


def _legend_above(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 1.02)}
    figure.legend(handles, labels, **place, ncols=6, frameon=False, fontsize=7, handlelength=1.4)


def bets(panels: list[dict[str, Any]]) -> Chart:
    """Draw the wealth of betting against every rule through time, one panel a side.

    Parameters
    ----------
    panels
        ``title, lines [(rule, name, dates, log_wealth)]``.
    """
    figure, axes = _figure(178, 38, 1, len(panels), _Room(left=10, right=3, top=10.5, between_columns=9))
    sentences = []
    for axis, panel in zip(axes[0], panels, strict=True):
        for rule, name, dates, log_wealth in panel["lines"]:
            x, y = thinned(dates, log_wealth / np.log(10))
            axis.plot(x, y, color=RULE_COLOURS.get(rule, GREY), linewidth=0.8, label=name)
            sentences.append(f"{panel['title']} {name}: at most 10 to the power {max(0.0, float(y.max())):.1f}")
        _dates(axis, (pd.Timestamp(x[-1]) - pd.Timestamp(x[0])).days / 365)
        axis.axhline(np.log10(20.0), color=INK, linestyle="--", linewidth=0.6)
        axis.set_title(panel["title"])
    axes[0][0].set_ylabel("wealth (log10)", fontsize=7)
    _legend_above(figure, axes[0][0])
    return Chart(_svg(figure), "Wealth of betting against each rule at one percent: " + "; ".join(sentences) + ".")


def watch(lines: list[tuple[str, np.ndarray, np.ndarray]]) -> Chart:
    """Draw the wealth of betting against the model in use through time, with the levels of warning and alarm."""
    figure, axes = _figure(178, 34, 1, 1, _Room(left=12, top=6.5))
    axis = axes[0, 0]
    sentences = []
    for (label, dates, log_wealth), colour in zip(lines, (RED, BLUE, AMBER, GREEN, GREY, INK), strict=False):
        x, y = thinned(dates, log_wealth / np.log(10))
        axis.plot(x, y, color=colour, label=label)
        years = (pd.Timestamp(x[-1]) - pd.Timestamp(x[0])).days / 365
        _dates(axis, years)
        sentences.append(f"{label} now {np.exp(log_wealth[-1]):.2g}, at most {np.exp(log_wealth.max()):.3g}")
    for level, name, where in ((5.0, "warning at 5", "top"), (20.0, "alarm at 20", "bottom")):
        axis.axhline(np.log10(level), color=INK, linestyle="--", linewidth=0.6)
        axis.text(1.0, np.log10(level), name, transform=axis.get_yaxis_transform(), fontsize=6.5, ha="right", va=where)
    axis.set_ylim(bottom=max(axis.get_ylim()[0], -6), top=max(axis.get_ylim()[1], 2.0))
    axis.set_ylabel("wealth (log10)", fontsize=7)
    _legend_above(figure, axis)
    return Chart(
        _svg(figure), "Wealth of betting against the overshoot estimate at one percent: " + "; ".join(sentences) + "."
    )
