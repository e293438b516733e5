"""Logistic regression on handwritten digits, minimised by SciPy's L-BFGS, beside scikit-learn's.

    python examples/lbfgs.py [--penalty 1e-3]

The model is a matrix, a bias and a convex loss; gradgen writes the gradient. SciPy wants one vector: `flatten` gives
it, with views that the network reads, so that a step of the optimiser is a step of the parameters. scikit-learn
minimises the same sum with a gradient written by hand, and arrives at the same minimum. The last line says how far
apart the two are.
"""

import argparse

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import gradgen as gg
from gradgen import nn

N = gg.size("N")
a, b = gg.input("a", (N, 64)), gg.input("b", (N,), dtype="int64")
penalty = gg.input("penalty", ())
W, mu = gg.param("W", (10, 64)), gg.param("mu", (10,))
scores = a @ W.T + mu
loss = nn.cross_entropy(scores, b) + penalty / 2 * gg.sum(W * W)

net = gg.compile({"loss": loss, "digit": gg.argmax(scores, axis=1)}, name="digits_regression", dtype="float64")


def main(strength: float) -> None:
    """Minimise twice, compare."""
    images, labels = load_digits(return_X_y=True)
    images, test_images, labels, test_labels = train_test_split(images / 16.0, labels, random_state=0, stratify=labels)
    data = {"a": images, "b": labels, "penalty": strength}
    vector, params = net.flatten(net.init())

    def value_and_grad(x: np.ndarray) -> tuple[float, np.ndarray]:
        vector[:] = x
        outputs, gradients = net.value_and_grad(**data, **params)
        return outputs["loss"], net.flatten(gradients)[0]

    found = minimize(
        value_and_grad, vector, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-7, "ftol": 0.0}
    )
    vector[:] = found.x

    # scikit-learn's C is the inverse of the penalty, for a loss that is a sum over the images instead of a mean
    model = LogisticRegression(C=1 / (strength * len(images)), tol=1e-7, max_iter=1000).fit(images, labels)
    their_vector, theirs = net.flatten({"W": model.coef_, "mu": model.intercept_})

    for name, chosen in (("gradgen and SciPy", params), ("scikit-learn", theirs)):
        digit = net(a=test_images, b=test_labels, penalty=strength, **chosen)["digit"]
        accuracy = np.mean(digit == test_labels)
        print(f"{name:17}  loss {net(**data, **chosen)['loss']:.10f}, test accuracy {accuracy:.2%}")
    print(f"{found.nit} iterations; largest difference of a parameter: {abs(vector - their_vector).max():.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--penalty", type=float, default=1e-3)
    main(parser.parse_args().penalty)
