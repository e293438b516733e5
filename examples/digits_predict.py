"""Read digits with the module and the weights that `digits.py` saved. Needs numpy, scipy and numba; not gradgen.

    python examples/digits_predict.py build/digits

Shows what it takes to ship a generated file: import it, fill `Params`, make room for results, call `forward`.
"""

import sys
from pathlib import Path

import numpy as np

sys.modules["gradgen"] = None  # type: ignore[assignment]  # from here on, `import gradgen` is an error


def main(folder: Path) -> None:
    """Print the accuracy on the saved test images."""
    sys.path.insert(0, str(folder))
    import digits_net as net

    weights = np.load(folder / "weights.npz")
    test = np.load(folder / "test.npz")
    images, labels = test["images"], test["labels"]

    count = len(images)
    p = net.Params(**{name: weights[name] for name in net.Params._fields})
    out = net.Outputs(scores=np.empty((count, 10), np.float32), digit=np.empty(count, np.int64))
    net.forward(a=images, p=p, w=net.workspace(count), out=out)
    print(f"test accuracy without gradgen: {np.mean(out.digit == labels):.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
