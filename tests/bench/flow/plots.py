"""Plots of a flow, of a simulated one as of a real one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tests.bench import figures


def busy_lines(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw how busy the L4s were over time, a line for each row's `series`, into an SVG."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(row["series"]["minutes"], row["series"]["busy"], label=row["scenario"], linewidth=1)
    axes.set(xlabel="minutes from the upload", ylabel="share of what three L4s can do", ylim=(0, 1.05))
    figure.legend(fontsize="small", loc="outside lower center", ncols=2, frameon=False)
    figures.save(figure, path)
