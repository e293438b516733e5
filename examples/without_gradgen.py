"""Call a module that an example saved, with the arrays of its last call. Needs numpy, scipy and numba; not gradgen.

    python examples/without_gradgen.py build/pendulum/pendulum.py

`call_without_gradgen` saves module and arrays, and starts this file in a process of its own, so that each example ends
as its network would begin elsewhere. `digits_predict.py` is the same by hand, for one module.
"""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def call_without_gradgen(net: Any, arrays: dict[str, np.ndarray], folder: Path, **sizes: int) -> dict[str, Any]:
    """Save a network, call it here and elsewhere, print how far the outputs are apart, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = net.save(folder / f"{net.model.name}.py")
    results = net(**arrays)
    np.savez(path.with_suffix(".arguments.npz"), **arrays, **sizes)
    np.savez(path.with_suffix(".results.npz"), **results)
    # -I: no PYTHONPATH and no current directory; the script itself refuses to import gradgen
    done = subprocess.run([sys.executable, "-I", __file__, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="")
    return results


def main(path: Path) -> None:
    """Fill what `forward` takes, call it, and compare."""
    sys.modules["gradgen"] = None  # type: ignore[assignment]  # from here on, `import gradgen` is an error
    sys.path.insert(0, str(path.parent))
    net = importlib.import_module(path.stem)

    given, results = np.load(path.with_suffix(".arguments.npz")), np.load(path.with_suffix(".results.npz"))
    arguments: dict[str, Any] = {}
    for name in inspect.signature(net.forward).parameters:
        if name == "p":
            arguments[name] = net.Params(**{x: given[x] for x in net.Params._fields})
        elif name == "w":
            arguments[name] = net.workspace(*(int(given[x]) for x in inspect.signature(net.workspace).parameters))
        elif name == "out":
            arguments[name] = net.Outputs(**{x: np.empty_like(results[x]) for x in net.Outputs._fields})
        else:
            arguments[name] = given[name]
    numbers = net.forward(**arguments)  # what has axes is in `out` now

    found = arguments["out"]._asdict() if "out" in arguments else {}
    found |= zip((x for x in results if x not in found), np.atleast_1d(numbers), strict=False)
    for name, value in found.items():
        print(f"{path.stem} without gradgen: {name}, largest difference {np.abs(value - results[name]).max():.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
