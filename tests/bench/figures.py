"""Figures as medians with their spread, in tables and in plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypedDict

import matplotlib
from matplotlib.figure import Figure


class Spread(TypedDict):
    """The median of some rounds, the least and the most."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Sum up the rounds' values, of which there is at least one."""
    return Spread(median=median(values), least=min(values), most=max(values))


def shown(figure: Spread, digits: int = 1) -> str:
    """Write a figure as `median (least to most)`."""
    least, middle, most = (f"{figure[key]:.{digits}f}" for key in ("least", "median", "most"))  # type: ignore[literal-required]
    return f"{middle} ({least} to {most})"


def percent(share: float | None) -> str:
    """Write a share in percent; nothing for none."""
    return "" if share is None else f"{100 * share:.1f} %"


def seconds(values: Sequence[float | None]) -> str:
    """Write seconds behind commas, leaving out what there is not."""
    return ", ".join(f"{each:,.0f} s" for each in values if each is not None)


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars(path: Path, title: str, unit: str, figures: Mapping[str, Spread]) -> None:
    """Draw a bar for each figure, its spread as a line, into an SVG."""
    figure = Figure(figsize=(8, 0.9 + 0.42 * len(figures)), layout="constrained")
    axes = figure.subplots()
    medians = [each["median"] for each in figures.values()]
    below = [each["median"] - each["least"] for each in figures.values()]
    above = [each["most"] - each["median"] for each in figures.values()]
    drawn = axes.barh(list(figures), medians, xerr=(below, above), color="#4878a8", capsize=3)
    axes.bar_label(drawn, labels=[f"{value:.3g}" for value in medians], padding=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a plot as an SVG that is the same for the same figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, format="svg", metadata={"Date": None})
