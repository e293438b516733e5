"""Proofs by trying every index: for subscripts that no rule about signs decides, such as those of a packed triangle.

In: a polynomial in indices whose ranges are numbers. Out: whether it is at least zero wherever the facts hold;
`sizes.nonnegative` asks where its own rules end.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradgen.graph.scalar import Atom, FloorDiv, Letter, Poly, Position, Step

_INDICES = (Letter, Position, Step)
_MOST = 1 << 16  # combinations of indices that are tried


def nonnegative_everywhere(p: Poly, ranges: Mapping[Atom, Poly], facts: Iterable[Poly]) -> bool:
    """Whether p >= 0 for all indices inside their ranges for which every fact is >= 0; False where there are too many.

    Linear polynomials are left to the rules, which decide them. Facts about other indices are not made use of.
    """
    if all(len(monomial) < 2 and not isinstance(a, FloorDiv) for monomial, _ in p.terms for a in monomial):
        return False
    atoms = _indices(p)
    if atoms is None:
        return False
    extents = [ranges[a].constant if a in ranges else None for a in atoms]
    counts = [e for e in extents if e is not None]
    if len(counts) != len(extents) or np.prod(counts, dtype=np.float64) > _MOST:
        return False
    grid = dict(zip(atoms, np.ogrid[tuple(slice(count) for count in counts)], strict=True))
    wrong = _value(p, grid) < 0
    for fact in facts:
        mentioned = _indices(fact)
        if mentioned is not None and all(a in grid for a in mentioned):
            wrong = wrong & (_value(fact, grid) >= 0)
    return not np.any(wrong)


def _indices(p: Poly) -> list[Atom] | None:
    """The indices in a polynomial, floor divisions looked into; None where it has sizes, data, or divides by others."""
    found: dict[Atom, None] = {}
    for atom in p.atoms:
        if isinstance(atom, _INDICES):
            found[atom] = None
        elif isinstance(atom, FloorDiv) and (atom.denominator.constant or 0) > 0:
            inner = _indices(atom.numerator)
            if inner is None:
                return None
            found.update(dict.fromkeys(inner))
        else:
            return None
    return list(found)


def _value(p: Poly, at: Mapping[Atom, Any]) -> Any:
    total: Any = 0
    for monomial, factor in p.terms:
        term: Any = factor
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                term = term * (_value(atom.numerator, at) // (atom.denominator.constant or 1))
            else:
                term = term * at[atom]
        total = total + term
    return total
