"""Products as loops: y / x is no derivative where x is 0.

In: the node of what is multiplied, along its first axis. Out: the node of the product; `compute` makes it of a formula,
`statistics` of a whole tensor.
"""

from gradgen.graph import nodes
from gradgen.graph.nodes import Node, pointwise
from gradgen.graph.origin import record
from gradgen.graph.scalar import call, load, number, position, step
from gradgen.lang.bodies import inside_body


def product_of_rows(values: Node) -> Node:
    """x[0] * x[1] * ..., of shape x.shape[1:]; 1 where there is none."""
    length, *rest = values.shape
    places = [position(k) for k in range(len(rest))]
    one = pointwise(rest, call(values.dtype, number(1)) if values.dtype != "int64" else number(1))
    with inside_body() as depth:
        total = nodes.carry(0, rest, values.dtype, depth)
        after = pointwise(rest, call("mul", load(total, places), load(values, [step(depth), *places])))
    states = nodes.project(nodes.scan(length, depth, [total], [one], [after], []), "states", 0)
    record(states, (), None, 0, 0)
    return pointwise(rest, load(states, [length, *places]))
