"""A formula inside a PyTorch model: a memory with a rate for every channel, trained by torch.optim.

    python examples/torch_bridge.py [--steps 300] [--seed 0]

The memory is h[t] = rate h[t - 1] + (1 - rate) x[t], a rate for each of eight channels. In PyTorch it is a loop in
Python, with a call for every step of time. Here it is a `gg.scan`, compiled forward and backward, that stands between
two `torch.nn.Linear` as a module like any other: its rates are a parameter, autograd asks it for gradients by the
rates and by what comes in, and its arrays are PyTorch's, in the same memory.

What is to be learned mixes three signals, keeps each mixture in a memory of its own rate, and adds them up. The lines
print the loss, and what one forward and one backward pass take beside the same module written with PyTorch alone.
"""

import argparse
import time
from collections.abc import Callable

import torch

import gradgen as gg
from gradgen.interop.torch import Module

T, N, CHANNELS = gg.size("T"), gg.size("N"), 8
x = gg.input("x", (T, N, CHANNELS))
logit = gg.param("logit", (CHANNELS,))
rate = gg.sigmoid(logit)


def remember(h: gg.Tensor, now: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    """One step of time: the memory, which goes on and comes out."""
    h = rate * h + (1 - rate) * now
    return h, h


_, h = gg.scan(remember, gg.zeros((N, CHANNELS)), x)
memory = gg.compile({"h": h}, wrt=[x, logit], name="memory")


class Compiled(torch.nn.Module):
    """The memory as gradgen compiles it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Module(memory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x=x)["h"]


class Looped(torch.nn.Module):
    """The same with PyTorch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rate = torch.sigmoid(self.logit)
        h, found = torch.zeros_like(x[0]), []
        for now in x:
            h = rate * h + (1 - rate) * now
            found.append(h)
        return torch.stack(found)


def model(block: torch.nn.Module) -> torch.nn.Module:
    """Three signals in, one out."""
    return torch.nn.Sequential(torch.nn.Linear(3, CHANNELS), torch.nn.Tanh(), block, torch.nn.Linear(CHANNELS, 1))


def seconds(call: Callable[[], object]) -> float:
    """The least of twenty calls."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main(steps: int, length: int, batch: int, seed: int) -> None:
    """Train, and time one pass."""
    torch.manual_seed(seed)
    truth, learned = model(Looped()), model(Compiled())
    with torch.no_grad():
        truth[2].logit.copy_(torch.linspace(-2.0, 3.0, CHANNELS))
        truth[3].weight.mul_(3.0)
    signals = torch.randn(length, batch, 3)
    wanted = truth(signals).detach()
    optimizer = torch.optim.Adam(learned.parameters(), lr=2e-2)

    def loss_of(net: torch.nn.Module) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(net(signals), wanted)
        loss.backward()
        return loss

    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(learned)
        optimizer.step()
        if step % max(steps // 10, 1) == 0:
            print(f"step {step:4}, loss {loss.item():.6f}")
    print(f"step {steps:4}, loss {loss_of(learned).item():.6f}")
    ours, theirs = (1e3 * seconds(lambda net=net: loss_of(net)) for net in (learned, truth))
    print(f"forward and backward: {ours:.2f} ms, with the memory as a loop in Python: {theirs:.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.length, options.batch, options.seed)
