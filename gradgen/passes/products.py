"""A product as its factors, and the conditions of `where(condition, product, 0)` around them.

In: the body of a sum. Out: what `contract` groups into two operands, and `microkernel` recognises.
"""

from gradgen.graph.scalar import Call, Const, Scalar, conjuncts


def split_factors(body: Scalar) -> tuple[list[Scalar], list[Scalar]] | None:
    """The factors of a product, and the conditions of `where(condition, product, 0)` around them."""
    factors: list[Scalar] = []
    conditions: list[Scalar] = []
    pending = [body]
    while pending:
        x = pending.pop()
        match x:
            case Call(function=f, arguments=(a, b)) if f.name == "mul":
                pending += [b, a]
            case Call(function=f, arguments=(c, y, Const() as zero)) if f.name == "where" and zero.value == 0:
                conditions += conjuncts(c)
                pending.append(y)
            case _:
                factors.append(x)
    return (factors, conditions) if len(factors) >= 2 else None
