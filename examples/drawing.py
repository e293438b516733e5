"""How the examples draw: how the loss fell, and what came of it, in one style.

Not a program: others say `from drawing import draw, losses_by`, and `python examples/pendulum.py`, say, draws. It needs
matplotlib, which comes with `pip install -e '.[examples]'`; where that is missing, a line says so.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Panel = Callable[[Any], None]  # draws on the axes that it is given

STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.titlesize": "large",
    "figure.titleweight": "bold",
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def draw(path: Path, title: str, *panels: Panel, columns: int = 0, width: float = 5.0, height: float = 4.0) -> None:
    """Write a picture of panels, each so many inches wide and high; in one row unless there are fewer columns."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"no {path.name}: matplotlib is not installed")
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        for panel, axes in zip(panels, figure.subplots(rows, columns, squeeze=False).flat, strict=True):
            panel(axes)
        figure.suptitle(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def losses_by(losses: Mapping[str, np.ndarray], step: str = "step", noisy: bool = True) -> Panel:
    """The panel of losses by the names of their lines; noisy ones are pale, under their running means."""

    def panel(axes: Any) -> None:
        for k, (name, each) in enumerate(losses.items()):
            colour, count = f"C{k}", max(1, len(each) // 50) if noisy else 1
            means = np.convolve(each, np.ones(count) / count, "valid")
            if count > 1:
                axes.plot(np.arange(len(each)) + 1, each, linewidth=1, alpha=0.3, color=colour)
                name = f"{name}, mean of {count} {step}s"
            axes.plot(np.arange(len(means)) + (count + 1) / 2, means, color=colour, label=name)
        every = np.concatenate(list(losses.values()))
        axes.set_yscale("log" if every.max() > 30 * every.min() else "linear")
        axes.set(xlabel=step, ylabel="loss", title="Training")
        axes.legend()

    return panel
