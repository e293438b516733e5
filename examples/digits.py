"""Train a network that reads handwritten digits, save what was generated, and use it where gradgen is not.

    python examples/digits.py [--epochs 60] [--seed 0] [--out build/digits]

The data are scikit-learn's 1,797 images of 8 x 8 pixels: 1,347 to train on, 450 to test. The network is 64-128-10 with
relu and cross-entropy, trained by Adam on minibatches of 32; one compiled function does a whole training step.
The folder then holds two generated modules and the weights. The last lines are the accuracy on the test images, as
computed by `digits_predict.py` in a process without gradgen, and the path of the generated training step.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradgen as gg
from gradgen import nn

HERE = Path(__file__).resolve().parent

B = gg.size("B")
a = gg.input("a", (B, 64))
b = gg.input("b", (B,), dtype="int64")
lr = gg.input("lr", ())

fc1 = nn.Linear(64, 128)
fc2 = nn.Linear(128, 10)
h = nn.relu(fc1(a))
scores = fc2(h)
loss = nn.cross_entropy(scores, b)

train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=lr), name="digits_train")
predict = gg.compile({"scores": scores, "digit": gg.argmax(scores, axis=1)}, name="digits_net", wrt=[])


def main(epochs: int, seed: int, batch: int, out: Path) -> None:
    """Train, save, and predict in another process."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32)
    images, test_images, labels, test_labels = train_test_split(
        images, labels, test_size=450, random_state=seed, stratify=labels
    )
    random = np.random.default_rng(seed)
    state = train.init(seed)
    batches = len(images) // batch
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=epochs * batches)
        for epoch in range(epochs):
            rate = 3e-3 * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))
            order = random.permutation(len(images))
            losses = []
            for rows in np.split(order[: batches * batch], batches):
                result = train.step(state, a=images[rows], b=labels[rows], lr=rate)
                losses.append(result["loss"])
                progress.advance(task)
            progress.update(task, description=f"epoch {epoch + 1:2d}, loss {np.mean(losses):.4f}")

    weights = {name: state[name] for name in predict.init()}  # the state also holds Adam's averages
    found = predict(a=test_images, **weights)["digit"]
    print(f"test accuracy in this process: {np.mean(found == test_labels):.2%}")

    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "weights.npz", **weights)
    np.savez(out / "test.npz", images=test_images, labels=test_labels)
    generated = train.save(out / "digits_train.py")
    predict.save(out / "digits_net.py")
    # -I: no PYTHONPATH and no current directory; the script itself refuses to import gradgen
    command = [sys.executable, "-I", str(HERE / "digits_predict.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout, end="")
    print(f"generated training step: {generated}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "digits")
    options = parser.parse_args()
    main(options.epochs, options.seed, options.batch, options.out)
