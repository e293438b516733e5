"""Write text with the module and the weights that `char_lstm.py` saved. Needs numpy and numba; not gradgen.

    python examples/char_lstm_write.py build/char_lstm [--begin "Shall I"] [--count 300] [--seed 0]

One call of the saved `forward` reads a letter and two states, and gives scores of the next letter and the next states.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.modules["gradgen"] = None  # type: ignore[assignment]  # from here on, `import gradgen` is an error


def main(folder: Path, begin: str, count: int, seed: int, temperature: float) -> None:
    """Print the beginning, and so many letters that follow."""
    sys.path.insert(0, str(folder))
    import char_lstm_net as net

    weights = np.load(folder / "weights.npz")
    letters = str(weights["letters"])
    p = net.Params(**{name: weights[name] for name in net.Params._fields})
    hidden = weights["writer_lstm_weight_hh_l0"].shape[1]
    h, c, next_h, next_c = (np.zeros((2, 1, hidden), np.float32) for _ in range(4))
    out = net.Outputs(scores=np.empty((1, 1, len(letters)), np.float32), next_h=next_h, next_c=next_c)
    w = net.workspace()
    random = np.random.default_rng(seed)
    text = begin
    for place in range(len(begin) + count - 1):
        net.forward(letter=np.array([[letters.index(text[place])]]), h=h, c=c, p=p, w=w, out=out)
        h[:], c[:] = next_h, next_c
        if place == len(text) - 1:
            scores = out.scores[0, 0].astype(np.float64) / temperature
            chances = np.exp(scores - scores.max())
            text += letters[random.choice(len(letters), p=chances / chances.sum())]
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--begin", default="Shall I")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.5)
    options = parser.parse_args()
    main(options.folder.resolve(), options.begin, options.count, options.seed, options.temperature)
