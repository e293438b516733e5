"""Graphs on a page, exactly as the core holds them: what a failing example prints.

In: nodes. Out: one line per node, producers first; indices are i0, i1, ... by position, steps t0, t1, ... by depth.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Carry, Compute, Leaf, Node, Project, Reshape, Scan, body_nodes, show_shape, toposort
from gradgen.graph.scalar import Call, Const, FloorDiv, Load, Poly, Position, Scalar, SizeSymbol, Step


def show(outputs: Sequence[Node]) -> str:
    """Every node below the outputs, and every scan's body below its line."""
    names: dict[object, str] = {}
    lines: list[str] = []
    _write(toposort(outputs), names, lines, "")
    return "\n".join([*lines, "return " + ", ".join(names[n] for n in outputs)])


def _write(order: Sequence[Node], names: dict[object, str], lines: list[str], margin: str) -> None:
    for node in order:
        if node in names:
            continue
        match node:
            case Leaf(name=name):
                names[node] = name
                lines.append(f"{margin}{name}: {node.role} {node.dtype}{show_shape(node.shape)}")
                continue
            case Carry(number=number, depth=depth):
                names[node] = f"carry{number}@{depth}{'' if node.dtype == 'float64' else node.dtype}"
                continue
            case Project(scan=scan, kind=kind, number=number):
                if scan not in names:
                    names[scan] = f"scan{len(names)}"
                    _write_scan(scan, names, lines, margin)
                text = f"{kind}[{number}] of {names[scan]}"
            case Reshape(source=source):
                text = f"reshape({names[source]})"
            case Compute():
                target = "" if node.gathers else f"[{', '.join(_poly(t, names) for t in node.target)}] += "
                loops = ", ".join(f"i{k}<{_poly(e, names)}" for k, e in enumerate(node.extents))
                text = f"{target}{node.reducer}({loops}) {_scalar(node.body, names)}"
        names[node] = f"v{len(names)}"
        lines.append(f"{margin}{names[node]}: {node.dtype}{show_shape(node.shape)} = {text}")


def _write_scan(scan: Scan, names: dict[object, str], lines: list[str], margin: str) -> None:
    direction = "reversed " if scan.reverse else ""
    inits = ", ".join(names[n] for n in scan.inits)
    lines.append(f"{margin}{names[scan]}: {direction}scan t{scan.depth}<{show_shape([scan.length])[1:-1]} from {inits}")
    inside = dict(names)
    for c in scan.carries:
        inside.pop(c, None)
    _write([*scan.carries, *body_nodes(scan)], inside, lines, margin + "    ")
    nexts = ", ".join(inside[n] for n in scan.nexts)
    outputs = ", ".join(inside[n] for n in scan.outputs)
    lines.append(f"{margin}    next {nexts}; out {outputs}")
    names[f"after {names[scan]}"] = ""  # so that numbers inside and outside differ


def _poly(p: Poly, names: dict[object, str]) -> str:
    terms = []
    for monomial, factor in p.terms:
        factors = [_atom(a, names) for a in monomial]
        terms.append("*".join(([str(factor)] if factor != 1 or not factors else []) + factors))
    return "+".join(terms).replace("+-", "-") or "0"


def _atom(atom: object, names: dict[object, str]) -> str:
    match atom:
        case Position(position=k):
            return f"i{k}"
        case Step(depth=depth):
            return f"t{depth}"
        case SizeSymbol(name=name):
            return name
        case FloorDiv(numerator=numerator, denominator=denominator):
            return f"(({_poly(numerator, names)})//({_poly(denominator, names)}))"
        case Scalar():
            return _scalar(atom, names)
    return type(atom).__name__


def _scalar(x: Scalar, names: dict[object, str]) -> str:
    match x:
        case Const(text=text):
            return text
        case Poly():
            return f"<{_poly(x, names)}>"
        case Load(tensor=tensor, subscripts=subscripts):
            return f"{names[tensor]}[{', '.join(_poly(s, names) for s in subscripts)}]"
        case Call(function=f, arguments=arguments):
            return f"{f.name}({', '.join(_scalar(a, names) for a in arguments)})"
    return type(x).__name__
