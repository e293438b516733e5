"""The smallest model: a formula, its value, its gradient, and the generated code.

    python examples/quickstart.py

`gradgen show examples/quickstart.py --stage adjoint` prints the derivative as formulas.
"""

import gradgen as gg

x1 = gg.param("x1", ())
x2 = gg.param("x2", ())
y = gg.log(x1) + x1 * x2 - gg.sin(x2)
net = gg.compile({"y": y}, name="quickstart", dtype="float64")

if __name__ == "__main__":
    values, gradients = net.value_and_grad(x1=2.0, x2=5.0)
    print(f"y = {values['y']:.3f}")
    print(f"dy/dx1 = {gradients['x1']:.3f}, dy/dx2 = {gradients['x2']:.3f}")
    print(net.source)
