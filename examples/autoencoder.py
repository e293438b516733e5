"""Squeeze handwritten digits into a few numbers and draw them again: convolutions in, transposed convolutions out.

    python examples/autoencoder.py [--epochs 40] [--code 8] [--seed 0] [--out build/autoencoder]

The data are those of `digits.py`: 1,347 images of 8 x 8 pixels to train on, 450 to test. Two convolutions of stride 2
halve an image to 4 x 4 and 2 x 2, a linear layer makes 8 numbers of it, and two transposed convolutions of stride 2
double it back. A transposed convolution is the adjoint of a convolution, and has none of its own: it is a formula.
The loss is the mean square of what differs; Adam minimises it.

The last lines compare it, on the test images, with the best that a linear map to as many numbers can do, which is
principal component analysis. The picture has the losses, and some digits above what became of them both ways; the first
30 are also drawn in a process without gradgen.
"""

import argparse
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
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent
BATCH = 30  # a number: what gradgen knows, it need not prepare for threads


class Autoencoder(nn.Module):
    """Images (B, 1, 8, 8) to codes (B, code), and back."""

    def __init__(self, code: int) -> None:
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 2 * 2, code),
        )
        self.spread = nn.Linear(code, 16 * 2 * 2)
        self.decoder = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, image: gg.Tensor) -> gg.Tensor:
        code = self.encoder(image)
        return self.decoder(self.spread(code).reshape(-1, 16, 2, 2))


def compiled(code: int) -> tuple[gg.Network, list[str]]:
    """A network that draws when it is called and learns when it steps, and the names of what it learns."""
    image = gg.input("image", (BATCH, 1, 8, 8))
    autoencoder = Autoencoder(code)
    drawn = autoencoder(image)
    loss = nn.mse_loss(drawn, image)
    network = gg.compile({"loss": loss, "drawn": drawn}, updates=gg.optim.adam(loss, lr=3e-3), name="autoencoder")
    return network, [str(x.name) for _, x in nn.named_parameters(autoencoder)]


def of_components(images: np.ndarray, test_images: np.ndarray, code: int) -> np.ndarray:
    """The test images as `code` principal components of the images have them."""
    mean = images.reshape(-1, 64).mean(axis=0)
    centred = test_images.reshape(-1, 64) - mean
    components = np.linalg.svd(images.reshape(-1, 64) - mean, full_matrices=False)[2][:code]
    return (mean + centred @ components.T @ components).reshape(test_images.shape)


def rows_of_digits(axes: Any, rows: dict[str, np.ndarray]) -> None:
    """The first ten images of each, a row each."""
    tiles = [np.hstack(np.pad(images[:10, 0], ((0, 0), (2, 2), (1, 1)))) for images in rows.values()]
    axes.imshow(np.vstack(tiles), cmap="gray_r", vmin=0, vmax=1)
    axes.set_yticks([6 + 12 * k for k in range(len(rows))], rows)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_title("Ten test images")


def main(epochs: int, code: int, seed: int, out: Path) -> None:
    """Train, and compare with principal components."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    images, test_images = train_test_split(images, test_size=450, random_state=seed, stratify=labels)
    network, names = compiled(code)
    random = np.random.default_rng(seed)
    state = network.init(seed)
    batches = len(images) // BATCH
    losses = np.zeros((epochs, batches))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=epochs * batches)
        for epoch in range(epochs):
            order = random.permutation(len(images))
            for k, rows in enumerate(np.split(order[: batches * BATCH], batches)):
                losses[epoch, k] = network.step(state, image=images[rows])["loss"]
                progress.advance(task)
            progress.update(task, description=f"epoch {epoch + 1:2d}, loss {losses[epoch].mean():.5f}")

    weights = {name: state[name] for name in names}  # the state also holds Adam's averages
    parts = np.split(test_images, len(test_images) // BATCH)
    drawn = np.concatenate([network(image=x, **weights)["drawn"] for x in parts])
    linear = of_components(images, test_images, code)
    errors = [np.mean((x - test_images) ** 2) for x in (linear, drawn)]

    call_without_gradgen(network, {"image": test_images[:BATCH], **weights}, out)
    rows = {"test image": test_images, "autoencoder": drawn, "principal\ncomponents": linear}
    title = f"Digits drawn again from {code} numbers"
    curve = losses_by({"mean square error of a pixel": losses.ravel()})
    draw(out / "digits.png", title, curve, partial(rows_of_digits, rows=rows), width=6, height=3.5)
    print(f"mean square that is left of a pixel, by {code} numbers for an image:")
    print(f"principal components {errors[0]:.5f}, autoencoder {errors[1]:.5f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--code", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "autoencoder")
    options = parser.parse_args()
    main(options.epochs, options.code, options.seed, options.out)
