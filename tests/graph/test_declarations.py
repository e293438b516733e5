"""The declarations of scalar functions: every derivative is that of the definition, every notation can be filled in."""

from string import Template

import mpmath
import numpy as np
import pytest
import sympy

from gradgen.graph.compositions import COMPOSITIONS, composed
from gradgen.graph.declaration import argument_names
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.nodes import leaf, pointwise
from gradgen.graph.partials import partials
from gradgen.graph.scalar import Call, call, integer, load, position
from gradgen.lang.interpret import interpret

POINTS = {"x": (0.15, 0.4, 0.85), "y": (0.6, 1.3, 0.35), "z": (0.2, 0.9, 1.1)}
ELSEWHERE = {"acosh": (1.2, 2.5, 7.0), "floor": (-0.6, 0.4, 1.3), "polygamma": (1.0, 2.0, 1.0)}
LOGIC = {f.name for f in FUNCTIONS.values() if f.result in ("bool", "integer")} | {"where"}  # nothing to differentiate
INTEGER = {"wrapped", "uint32"}  # steps, taken by integers
LEAVES = {name: leaf(name, [integer(3)], "float64", "input") for name in POINTS}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - LOGIC - INTEGER - {"stop_gradient", "float64"}))
def test_a_derivative_is_that_of_the_definition(name: str) -> None:
    function = FUNCTIONS[name]
    letters = argument_names(function)
    values = {letter: POINTS[letter] for letter in letters} | {"x": ELSEWHERE.get(name, POINTS["x"])}
    applied = call(name, *[load(LEAVES[letter], [position(0)]) for letter in letters])
    assert isinstance(applied, Call)
    definition = sympy.lambdify(letters, sympy.sympify(function.definition), "mpmath")
    for at, (letter, derivative) in enumerate(zip(letters, partials(applied), strict=True)):
        if name == "polygamma" and letter == "x":
            assert derivative is None  # the order is no real variable
            continue
        found = np.zeros(3)
        if derivative is not None:
            given = {LEAVES[k]: np.array(v) for k, v in values.items()}
            found = interpret([pointwise([integer(3)], derivative)], given)[0]
        for k in range(3):
            point = [mpmath.mpf(values[each][k]) for each in letters]
            order = tuple(int(each == at) for each in range(len(letters)))
            with mpmath.workdps(30):
                wanted = mpmath.diff(definition, tuple(point), order)
            assert found[k] == pytest.approx(float(wanted), rel=1e-10, abs=1e-12), (letter, point)


def test_every_notation_names_the_arguments_and_nothing_else() -> None:
    for function in FUNCTIONS.values():
        assert set(Template(function.latex).get_identifiers()) == set(argument_names(function)), function.name
    for composition in COMPOSITIONS.values():
        used = set(Template(composition.latex).get_identifiers())
        assert used == set(composition.parameters), composition.name


def test_every_declaration_says_in_words_what_the_value_is() -> None:
    declared = [*FUNCTIONS.values(), *COMPOSITIONS.values()]
    assert [x.name for x in declared if not x.meaning or x.meaning.endswith(".")] == []


def test_a_composition_is_built_of_scalar_functions() -> None:
    x = load(LEAVES["x"], [position(0)])
    for composition in COMPOSITIONS.values():
        arguments = [x if default is None else call("float64", x) for default in composition.parameters.values()]
        if composition.name == "logical_xor":
            arguments = [x > 0, x > 1]
        assert composed(composition, arguments).dtype in ("float64", "bool")
