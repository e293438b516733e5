"""Sort digits with the module and the weights that `sorting_transformer.py` saved. Needs numpy and numba; not gradgen.

python examples/sorting_predict.py build/sorting
"""

import sys
from pathlib import Path

import numpy as np

sys.modules["gradgen"] = None  # type: ignore[assignment]  # from here on, `import gradgen` is an error


def main(folder: Path) -> None:
    """Print the share of digits that are right, and a few rows."""
    sys.path.insert(0, str(folder))
    import sorting_net as net

    weights = np.load(folder / "weights.npz")
    rows = np.load(folder / "test.npz")["rows"]
    p = net.Params(**{name: weights[name] for name in net.Params._fields})
    out = net.Outputs(sorted=np.empty(rows.shape, np.int64))
    net.forward(row=rows, p=p, w=net.workspace(len(rows)), out=out)
    for row, ordered in zip(rows[:3], out.sorted, strict=False):
        print(*row, " ->", *ordered)
    print(f"digits in order without gradgen: {np.mean(out.sorted == np.sort(rows, axis=1)):.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
