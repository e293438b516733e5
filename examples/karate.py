"""Find the two factions of Zachary's karate club from one member of each, by graph layers.

    python examples/karate.py [--steps 200] [--seed 0]

The club had 34 members and 78 friendships when it split in two (W. W. Zachary, "An information flow model for conflict
and fission in small groups", Journal of Anthropological Research 33, 1977). A graph convolutional network and one with
attention are trained on the factions of the instructor, member 0, and of the administrator, member 33. Nothing is known
of a member but who it is. The lines are the losses, and how many of the other 32 are found on the right side.
"""

import argparse

import numpy as np

import gradgen as gg
from gradgen import nn

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


def trained(layers: Net, name: str, steps: int, seed: int) -> np.ndarray:
    """The scores of all members after some steps of Adam."""
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
    for _ in range(steps):
        result = train.step(state, **members, labels=faction[known], labelled=known)
    found = predict(**members, **{key: state[key] for key in predict.init()})["scores"]
    right = np.delete(found.argmax(axis=1) == faction, known)
    print(f"{name}: loss {result['loss']:.4f}, {right.sum()} of {len(right)} members found")
    return found


def main(steps: int, seed: int) -> None:
    """Train both networks."""
    gcn = Net(nn.GCNConv(MEMBERS, HIDDEN), nn.GCNConv(HIDDEN, 2))
    gat = Net(nn.GATConv(MEMBERS, HIDDEN // 4, heads=4), nn.GATConv(HIDDEN, 2))
    print(f"{MEMBERS} members, {len(pairs)} friendships")
    trained(gcn, "gcn", steps, seed)
    trained(gat, "gat", steps, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.seed)
