"""Train a convolutional network that reads handwritten digits, and use it where gradgen is not.

    python examples/cnn.py [--epochs 25] [--seed 0] [--out build/cnn]

The data are those of `digits.py`: 1,347 images of 8 x 8 pixels to train on, 450 to test. Two convolutions see 3 x 3
pixels each, a maximum over 2 x 2 halves the image, dropout keeps the last layer from relying on single features. While
it trains, the images move by up to one pixel, as handwriting does. One compiled function does a whole step of Adam.
The lines are those of `digits.py`: accuracies on the test images with and without gradgen, and the generated file. The
picture has the losses, and the test images of which the network is least sure.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradgen as gg
from drawing import draw, losses_by
from gradgen import nn

HERE = Path(__file__).resolve().parent

B = gg.size("B")
a = gg.input("a", (B, 64))
b = gg.input("b", (B,), dtype="int64")
lr = gg.input("lr", ())

net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.3),
    nn.Linear(512, 10),
)
images = a.reshape(B, 1, 8, 8)
loss = nn.cross_entropy(net(images), b)
train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=lr) | nn.running_updates(net), name="cnn_train")

net.eval()
scores = net(images)
predict = gg.compile({"scores": scores, "digit": nn.classify(scores)}, name="digits_net", wrt=[])


def moved(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every image by -1, 0 or 1 pixels along both axes."""
    wide = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    rows = random.integers(0, 3, (len(images), 1, 1)) + np.arange(8)[:, None]
    columns = random.integers(0, 3, (len(images), 1, 1)) + np.arange(8)
    return wide[np.arange(len(images))[:, None, None], rows, columns].reshape(-1, 64)


def least_sure(axes: Any, images: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
    """The 24 images whose two highest scores are closest, under what is read."""
    found = scores.argmax(axis=1)
    highest = np.sort(scores, axis=1)
    chosen = np.argsort(highest[:, -1] - highest[:, -2])[:24]
    tiles = np.pad(images[chosen].reshape(3, 8, 8, 8), ((0, 0), (0, 0), (4, 0), (1, 1)))
    axes.imshow(tiles.transpose(0, 2, 1, 3).reshape(36, 80), cmap="gray_r")
    for k, at in enumerate(chosen):
        wrong = found[at] != labels[at]
        text = f"{found[at]}, is {labels[at]}" if wrong else str(found[at])
        colour = "red" if wrong else "black"
        axes.text(10 * (k % 8) + 4.5, 12 * (k // 8) + 2, text, color=colour, ha="center", va="center")
    axes.axis("off")
    axes.set_title(f"{np.mean(found == labels):.1%} of {len(labels)} test images are read right; the 24 least sure:")


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
    losses: list[float] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=epochs * batches)
        for epoch in range(epochs):
            rate = 3e-3 * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))
            order = random.permutation(len(images))
            for rows in np.split(order[: batches * batch], batches):
                result = train.step(state, a=moved(images[rows], random), b=labels[rows], lr=rate)
                losses.append(float(result["loss"]))
                progress.advance(task)
            progress.update(task, description=f"epoch {epoch + 1:2d}, loss {np.mean(losses[-batches:]):.4f}")

    weights = {name: state[name] for name in predict.init()}
    result = predict(a=test_images, **weights)
    draw(
        out / "digits.png",
        "A convolutional network reads handwritten digits",
        losses_by({"cross-entropy": np.array(losses)}),
        partial(least_sure, images=test_images, scores=result["scores"], labels=test_labels),
        width=6,
    )
    print(f"test accuracy in this process: {np.mean(result['digit'] == test_labels):.2%}")

    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "weights.npz", **weights)
    np.savez(out / "test.npz", images=test_images, labels=test_labels)
    generated = train.save(out / "cnn_train.py")
    predict.save(out / "digits_net.py")
    command = [sys.executable, "-I", str(HERE / "digits_predict.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout, end="")
    print(f"generated training step: {generated}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "cnn")
    options = parser.parse_args()
    main(options.epochs, options.seed, options.batch, options.out)
