"""Bundle adjustment as in ADBench: reprojection errors, and their Jacobian in blocks of 2 x 15, one per observation.

    python examples/bundle_adjustment.py [--observations 1000]

The model is that of F. Srajer, Z. Kukelova, A. Fitzgibbon, "A benchmark of selected algorithmic differentiation tools
on some problems in computer vision and machine learning" (2018). A camera has 11 numbers: rotation (3, axis times
angle), centre (3), focal length, principal point (2), radial distortion (2). An observation p is point `pick[p, 1]`,
seen by camera `pick[p, 0]` at the pixel `seen[p]`, with the weight `w[p]`. Its two errors depend on one camera, one
point and one weight: 11 + 3 + 1 numbers.
"""

import argparse
import time

import numpy as np

import gradgen as gg


def bundle() -> gg.Network:
    """Errors and Jacobian for any number of cameras, points and observations."""
    cameras, points = gg.input("cameras", (gg.size("C"), 11)), gg.input("points", (gg.size("M"), 3))
    w, seen = gg.input("w", (gg.size("P"),)), gg.input("seen", (gg.size("P"), 2))
    pick = gg.input("pick", (gg.size("P"), 2), dtype="int64")

    p, i = gg.indices("p i")
    camera = gg.compute((p, i), cameras[pick[p, 0], i])
    point = gg.compute((p, i), points[pick[p, 1], i])
    rotation, centre, focal = camera[:, 0:3], camera[:, 3:6], camera[:, 6]
    principal, radial = camera[:, 7:9], camera[:, 9:11]

    # Rodrigues: x cos(t) + (r x x) sin(t)/t + r (r . x) (1 - cos(t))/t**2 for a turn by t = |r| about r
    x = point - centre
    square = gg.compute((p,), gg.sum(rotation[p, i] ** 2, over=i))
    angle = gg.sqrt(square)
    sine = gg.where(square > 0, gg.sin(angle) / angle, 1.0)
    versine = gg.where(square > 0, (1 - gg.cos(angle)) / square, 0.5)
    cosine = gg.where(square > 0, gg.cos(angle), 1.0)
    along = gg.compute((p,), gg.sum(rotation[p, i] * x[p, i], over=i))
    k = gg.index("k", 3)
    after, last = (k + 1) % 3, (k + 2) % 3
    cross = gg.compute((p, k), rotation[p, after] * x[p, last] - rotation[p, last] * x[p, after])
    y = gg.compute((p, i), x[p, i] * cosine[p] + cross[p, i] * sine[p] + rotation[p, i] * along[p] * versine[p])

    i = gg.index("i", 2)
    flat = gg.compute((p, i), y[p, i] / y[p, 2])
    r = gg.compute((p,), flat[p, 0] ** 2 + flat[p, 1] ** 2)
    bent = gg.compute((p, i), flat[p, i] * (1 + radial[p, 0] * r[p] + radial[p, 1] * r[p] ** 2))
    errors = gg.compute((p, i), w[p] * (bent[p, i] * focal[p] + principal[p, i] - seen[p, i]))

    # An error depends on numbers of its own observation only, so sums over observations lose nothing.
    rows = [gg.grad(gg.sum(errors[:, k]), [camera, point, w]) for k in range(2)]
    jacobian = gg.stack([gg.concatenate([c, q, v[:, None]], axis=1) for c, q, v in rows], axis=1)
    return gg.compile({"errors": errors, "jacobian": jacobian}, name="bundle_adjustment", dtype="float64", wrt=[])


def problem(observations: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random cameras that see random points in front of them; the first camera is not turned at all."""
    random = np.random.default_rng(seed)
    count = max(observations // 20, 2)
    cameras = np.concatenate(
        [
            0.2 * random.normal(size=(count, 3)),
            random.normal(size=(count, 3)),
            500 + random.normal(size=(count, 1)),
            320 + random.normal(size=(count, 2)),
            0.1 * random.normal(size=(count, 2)),
        ],
        axis=1,
    )
    cameras[0, :3] = 0
    pick = np.stack([random.integers(0, count, observations), random.integers(0, 2 * count, observations)], axis=1)
    pick[0, 0] = 0
    return {
        "cameras": cameras,
        "points": random.normal((0, 0, 12), size=(2 * count, 3)),
        "w": random.normal(size=observations),
        "seen": 320 + 50 * random.normal(size=(observations, 2)),
        "pick": pick,
    }


def main(observations: int) -> None:
    """The blocks, one of them against differences, and the time of a call."""
    net, given = bundle(), problem(observations)
    out = net(**given)
    camera = given["pick"][0, 0]
    differences = []
    for k in range(11):
        moved = []
        for step in (1e-6, -1e-6):
            cameras = given["cameras"].copy()
            cameras[camera, k] += step
            moved.append(net(**{**given, "cameras": cameras})["errors"][0])
        differences.append((moved[0] - moved[1]) / 2e-6)
    block = out["jacobian"][0, :, :11]
    gap = np.abs(block - np.transpose(differences)).max() / np.abs(block).max()
    print(f"jacobian {out['jacobian'].shape}, first block against differences: {gap:.1e}")
    times = []
    for _ in range(10):
        start = time.perf_counter()
        net(**given)
        times.append(time.perf_counter() - start)
    print(f"errors and jacobian {1e3 * min(times):.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=1000)
    main(parser.parse_args().observations)
