"""Find the two factions of Zachary's karate club from one member of each, by graph layers.

    python examples/karate.py [--steps 200] [--seed 0] [--out build/karate]

The club had 34 members and 78 friendships when it split in two (W. W. Zachary, "An information flow model for conflict
and fission in small groups", Journal of Anthropological Research 33, 1977). A graph convolutional network and one with
attention are trained on the factions of the instructor, member 0, and of the administrator, member 33. Nothing is known
of a member but who it is. The lines are how far the scores are from those of a process without gradgen, the losses,
and how many of the other 32 are found on the right side. The picture has the losses and both answers.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.sparse.csgraph import shortest_path

import gradgen as gg
from drawing import draw, losses_by
from gradgen import nn
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent

FRIENDS = """
0: 1 2 3 4 5 6 7 8 10 11 12 13 17 19 21 31
1: 2 3 7 13 17 19 21 30
2: 3 7 8 9 13 27 28 32
3: 7 12 13
4: 6 10
5: 6 10 16
6: 16
8: 30 32 33
9: 33
13: 33
14: 32 33
15: 32 33
18: 32 33
19: 33
20: 32 33
22: 32 33
23: 25 27 29 32 33
24: 25 27 31
25: 31
26: 29 33
27: 33
28: 31 33
29: 32 33
30: 32 33
31: 32 33
32: 33
"""
OF_INSTRUCTOR = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21]
MEMBERS, HIDDEN = 34, 16

rows = [row.split(":") for row in FRIENDS.strip().split("\n")]
pairs = [(int(member), int(friend)) for member, friends in rows for friend in friends.split()]
one, other = np.array(pairs).T
edges = {"source": np.concatenate([one, other]), "target": np.concatenate([other, one])}  # both ways
faction = np.array([0 if member in OF_INSTRUCTOR else 1 for member in range(MEMBERS)])
known = np.array([0, 33])


class Net(nn.Module):
    """Two graph layers, with dropout between them while it trains: the members, one-hot, to the scores of factions."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        self.first, self.second, self.drop = first, second, nn.Dropout(0.5)

    def forward(self, x: gg.Tensor, source: gg.Tensor, target: gg.Tensor) -> gg.Tensor:
        """Scores of shape (members, 2)."""
        h = self.drop(nn.relu(self.first(x, source, target)))
        return self.second(h, source, target)


def trained(layers: Net, name: str, steps: int, seed: int, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """The losses of some steps of Adam, and the scores of all members after them."""
    E = gg.size("E")
    x = gg.input("x", (MEMBERS, MEMBERS))
    source, target = gg.input("source", (E,), "int64"), gg.input("target", (E,), "int64")
    labels, labelled = gg.input("labels", (2,), "int64"), gg.input("labelled", (2,), "int64")

    scores = layers(x, source, target)
    loss = nn.cross_entropy(gg.take(scores, labelled, axis=0), labels)
    updates = gg.optim.adam(loss, lr=0.01, weight_decay=5e-4) | nn.running_updates(layers)
    train = gg.compile({"loss": loss}, updates=updates, name=f"{name}_train")
    predict = gg.compile({"scores": layers.eval()(x, source, target)}, name=name, wrt=[])

    state = train.init(seed)
    members = {"x": np.eye(MEMBERS, dtype=np.float32), **edges}
    losses = np.zeros(steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=steps)
        for step in range(steps):
            losses[step] = train.step(state, **members, labels=faction[known], labelled=known)["loss"]
            progress.update(task, advance=1, description=f"{name}, loss {losses[step]:.4f}")
    arrays = {**members, **{key: state[key] for key in predict.init()}}
    return losses, call_without_gradgen(predict, arrays, out, E=2 * len(pairs))["scores"]


def places() -> np.ndarray:
    """Two coordinates of each member, as far apart as it takes to walk over friends, as nearly as that goes."""
    steps = np.zeros((MEMBERS, MEMBERS))
    steps[one, other] = 1
    steps = shortest_path(steps, directed=False)
    at = np.random.default_rng(0).normal(size=(MEMBERS, 2))
    for _ in range(300):  # stress majorisation: each goes to the mean of where the others want it
        apart = at[:, None] - at
        distance = np.linalg.norm(apart, axis=2) + np.eye(MEMBERS)
        at = np.mean(at + steps[:, :, None] * apart / distance[:, :, None], axis=1)
    return at


def club(axes: Any, title: str, scores: np.ndarray, at: np.ndarray) -> None:
    """The members in the colours of the factions found, with a ring around those that are wrong."""
    axes.plot(*at[np.array(pairs).T].transpose(2, 0, 1), color="grey", alpha=0.3, linewidth=1)
    found = scores.argmax(axis=1)
    for k, leader in enumerate(("instructor", "administrator")):
        axes.scatter(*at[found == k].T, s=170, color=f"C{k}", label=f"with the {leader}", zorder=2)
    axes.scatter(*at[known].T, s=300, marker="s", color=("C0", "C1"), label="known", zorder=2)
    wrong = found != faction
    axes.scatter(*at[wrong].T, s=280, facecolors="none", edgecolors="black", label="wrong", zorder=2)
    for member, place in enumerate(at):
        axes.annotate(str(member), place, color="white", size="x-small", ha="center", va="center", zorder=3)
    axes.set(xticks=[], yticks=[], title=f"{title}: {MEMBERS - 2 - wrong.sum()} of {MEMBERS - 2} found")
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, markerscale=0.5, fontsize="small")


def main(steps: int, seed: int, out: Path) -> None:
    """Train both networks."""
    gcn = Net(nn.GCNConv(MEMBERS, HIDDEN), nn.GCNConv(HIDDEN, 2))
    gat = Net(nn.GATConv(MEMBERS, HIDDEN // 4, heads=4), nn.GATConv(HIDDEN, 2))
    results = {name: trained(net, name, steps, seed, out) for name, net in (("gcn", gcn), ("gat", gat))}
    at = places()
    titles = {"gcn": "Graph convolution", "gat": "Graph attention"}
    draw(
        out / "club.png",
        "Two factions of a karate club, from one known member of each",
        losses_by({titles[name]: losses for name, (losses, _) in results.items()}),
        *(partial(club, title=titles[name], scores=scores, at=at) for name, (_, scores) in results.items()),
        height=5.0,
    )
    print(f"{MEMBERS} members, {len(pairs)} friendships")
    for name, (losses, scores) in results.items():
        right = np.delete(scores.argmax(axis=1) == faction, known)
        print(f"{name}: loss {losses[-1]:.4f}, {right.sum()} of {len(right)} members found")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "karate")
    options = parser.parse_args()
    main(options.steps, options.seed, options.out)
