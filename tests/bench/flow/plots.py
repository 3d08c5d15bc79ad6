"""Plots of a flow, of a simulated one as of a real one."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def busy_lines(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw how busy the L4s were over time, a line for each row's `series`, into an SVG."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(9, 4))
    for row in rows:
        axes.plot(row["series"]["minutes"], row["series"]["busy"], label=row["scenario"], linewidth=1)
    axes.set(xlabel="minutes from the upload", ylabel="share of what three L4s can do", ylim=(0, 1.05))
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)
    with pyplot.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
