"""The emitted scalar functions: their error over the whole range, jitted and not, their vector code, their text."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
import pytest
from mpmath import mp, mpf

from gradgen.emit.coefficients import FITS, derived_lines, with_derived_lines
from gradgen.emit.scalar_library import CALLS, HEADER, SUFFIXES, blocks, emitted_name, in_library, template_path
from gradgen.emit.templates import template_text
from tests.repeats import parameter

NAN = np.nan
FAR = 2000  # beyond it every exponential has left the range of float64


def clipped(x: Any) -> Any:
    return min(max(x, mpf(-FAR)), mpf(FAR))


class Case(NamedTuple):
    reference: Callable[[Any], Any]
    float32: float  # largest error in units in the last place, also where the result is subnormal
    float64: float
    at_infinity: tuple[float, float]  # at -inf and at inf
    least: float = 0.0  # results smaller than this count as this large: near a root away from 0, and the like


def lgamma(x: Any) -> Any:
    return mp.inf if x <= 0 and x == mp.floor(x) else mp.re(mp.loggamma(x))


def digamma(x: Any) -> Any:
    return None if x <= 0 and x == mp.floor(x) else mp.digamma(x)


CASES = {
    "exp": Case(lambda x: mp.exp(clipped(x)), 1.0, 1.0, (0, np.inf)),
    "expm1": Case(lambda x: mp.expm1(clipped(x)), 1.5, 2.0, (-1, np.inf)),
    "log": Case(mp.log, 1.0, 1.0, (np.nan, np.inf)),
    "log1p": Case(mp.log1p, 1.5, 1.5, (np.nan, np.inf)),
    "tanh": Case(lambda x: mp.tanh(clipped(x)), 2.6, 2.6, (-1, 1)),
    "sigmoid": Case(lambda x: 1 / (1 + mp.exp(clipped(-x))), 2.5, 2.5, (0, 1)),
    "erf": Case(lambda x: mp.erf(clipped(x)), 1.5, 1.5, (-1, 1)),
    "erfc": Case(lambda x: mp.erfc(clipped(x)), 5.0, 6.5, (2, 0)),
    "erfinv": Case(lambda x: mp.erfinv(x) if abs(x) < 1 else mp.inf * x if abs(x) == 1 else None, 5.0, 5.0, (NAN, NAN)),
    "lgamma": Case(lgamma, 5.0, 5.0, (np.inf, np.inf), least=1.0),
    "digamma": Case(digamma, 10.0, 10.0, (NAN, np.inf), least=1.0),
    "sinc": Case(mp.sincpi, 5.0, 5.0, (NAN, NAN), least=1.0),
    "softplus": Case(lambda x: max(x, 0) + mp.log1p(mp.exp(clipped(-abs(x)))), 2.0, 2.0, (0, np.inf)),
    "logsigmoid": Case(lambda x: min(x, 0) - mp.log1p(mp.exp(clipped(-abs(x)))), 2.0, 2.0, (-np.inf, 0)),
}
KEEPS_SIGN_OF_ZERO = {"expm1", "log1p", "tanh", "erf", "erfinv"}
VECTORISABLE = sorted(set(CASES) - {"erfinv", "lgamma", "digamma", "sinc"})  # loops, branches, and a call of np.sin
LEAST = {"log": 0, "log1p": -1}  # -inf there, nan below
PAIRS = [(function, dtype) for function in CASES for dtype in SUFFIXES]

LOOP = """\
@njit(fastmath={{"contract", "reassoc"}}, error_model="numpy")
def {name}_loop(x, y):
    for i in range(x.shape[0]):
        y[i] = {name}(x[i])
"""


TOP = """\
# ruff: noqa: FURB136  min and max would swallow a nan
import numpy as np
from numba import njit

"""


def library_text() -> str:
    return "\n\n".join([TOP + HEADER, *blocks([(f, dtype) for f in CALLS for dtype in SUFFIXES])])


def imported(path: Path, texts: list[str]) -> Any:
    path.write_text("\n\n".join(texts), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba's cache looks it up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def jitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library as a generated file has it, and a loop over each function in that file's fastmath mode."""
    path = tmp_path_factory.mktemp("scalar_library") / "scalar_functions.py"
    module = imported(path, [library_text(), *(LOOP.format(name=emitted_name(*pair)) for pair in PAIRS)])
    yield module
    del sys.modules[module.__name__]


@pytest.fixture(scope="module")
def plain() -> dict[str, Callable[[Any], Any]]:
    """The same text with the decorators taken away."""
    names: dict[str, Any] = {}
    text = library_text().replace("from numba import njit", "")
    exec(re.sub(r"(?m)^@njit.*\n", "", text), names)
    return names


def inputs(dtype: str, count: int) -> np.ndarray:
    """Borders and their neighbours, random bit patterns, and the ranges where the functions bend."""
    real = np.dtype(dtype)
    info = np.finfo(real)
    rng = np.random.default_rng(20)
    largest, deepest = np.log(float(info.max)), np.log(float(info.smallest_subnormal))
    turns = [0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 0.5**0.5 - 1, 2**0.5 - 1, 2**0.5, np.log(2) / 2, np.log(2) * 1.5, 20.0, 40.0]
    turns += [largest, -deepest, deepest, float(info.tiny), float(info.smallest_subnormal), float(info.max)]
    borders = np.array([*turns, 0.75 * float(info.tiny), 1e-30, float(info.eps)]).astype(real)
    borders = np.concatenate([borders, -borders])
    borders = np.concatenate([borders, np.nextafter(borders, real.type(0)), np.nextafter(borders, real.type(2))])
    patterns = rng.integers(0, 256, (count, real.itemsize), dtype=np.uint8).view(real)[:, 0]
    ranges = [rng.uniform(low, high, count) for low, high in ((-1, 1), (-7, 7), (-40, 40), (deepest, largest))]
    powers = [sign * 2.0 ** rng.uniform(-40, 10, count) for sign in (1, -1)]
    values = np.concatenate([borders, patterns, *(a.astype(real) for a in (*ranges, *powers))])
    return values[np.isfinite(values)]


def error_in_ulps(value: Any, exact: Any, least: float = 0.0) -> float:
    """inf counts as the number after the largest, so that only a result that rounds elsewhere is wrong."""
    info = np.finfo(value.dtype)
    limit = mpf(2) ** int(info.maxexp)
    exact = max(min(exact, limit), -limit)
    largest = np.nextafter(info.max, value.dtype.type(0))  # that whose neighbour can be asked for
    nearest = np.clip(max(abs(float(exact)), least), -largest, largest).astype(value.dtype)
    result = mpf(float(value)) if np.isfinite(value) else limit * int(np.sign(value))
    return float(abs(result - exact) / mpf(float(np.spacing(abs(nearest)))))


def check_errors(function: str, dtype: str, xs: np.ndarray, ys: Any) -> None:
    case, least = CASES[function], LEAST.get(function, -np.inf)
    with mp.workdps(40):
        for x, y in zip(xs, ys, strict=True):
            assert y.dtype == dtype
            if x < least:
                assert np.isnan(y), f"{function}({x!r}) = {y!r}"
            elif x == least:
                assert y == -np.inf
            elif (exact := case.reference(mpf(float(x)))) is None:
                assert np.isnan(y) or x == 0, f"{function}({x!r}) = {y!r}"
            else:
                ulps = error_in_ulps(y, exact, case.least)
                assert ulps <= getattr(case, dtype), f"{function}({x!r}) = {y!r}, {ulps:.2f} ulp"


def run_loop(jitted: Any, function: str, dtype: str, xs: np.ndarray) -> np.ndarray:
    ys = np.empty_like(xs)
    getattr(jitted, emitted_name(function, dtype) + "_loop")(xs, ys)
    return ys


@pytest.mark.parametrize(("function", "dtype"), PAIRS)
def test_jitted_error_over_the_whole_range(jitted: Any, function: str, dtype: str) -> None:
    xs = inputs(dtype, count=250)
    check_errors(function, dtype, xs, run_loop(jitted, function, dtype, xs))


@pytest.mark.parametrize(("function", "dtype"), PAIRS)
def test_plain_error_over_the_whole_range(plain: Any, function: str, dtype: str) -> None:
    xs = inputs(dtype, count=60)
    with np.errstate(all="ignore"):
        check_errors(function, dtype, xs, [plain[emitted_name(function, dtype)](x) for x in xs])


@pytest.mark.parametrize(("function", "dtype"), PAIRS)
def test_special_values(jitted: Any, plain: Any, function: str, dtype: str) -> None:
    real = np.dtype(dtype).type
    negative_nan = np.copysign(real(np.nan), real(-1.0))
    xs = np.array([-np.inf, np.inf, np.nan, negative_nan, 0.0, -0.0], dtype)
    with np.errstate(all="ignore"):
        unjitted = np.array([plain[emitted_name(function, dtype)](x) for x in xs])
    assert unjitted.dtype == dtype
    for ys in (run_loop(jitted, function, dtype, xs), unjitted):
        np.testing.assert_array_equal(ys[:2], np.array(CASES[function].at_infinity, dtype))
        assert np.isnan(ys[2:4]).all()
        if function in KEEPS_SIGN_OF_ZERO:
            assert list(ys[4:]) == [0.0, 0.0]
            assert list(np.signbit(ys[4:])) == [False, True]


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("function", ["tanh", "erf"])
def test_odd_functions_are_odd_to_the_bit(jitted: Any, function: str, dtype: str) -> None:
    xs = inputs(dtype, count=1000)
    np.testing.assert_array_equal(run_loop(jitted, function, dtype, -xs), -run_loop(jitted, function, dtype, xs))


@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("fma"), reason="needs an x86 CPU with FMA")
@pytest.mark.parametrize(("function", "dtype"), [pair for pair in PAIRS if pair[0] in VECTORISABLE])
def test_the_loop_is_vector_code_of_one_precision(jitted: Any, function: str, dtype: str) -> None:
    run_loop(jitted, function, dtype, np.zeros(1, dtype))
    (assembly,) = getattr(jitted, emitted_name(function, dtype) + "_loop").inspect_asm().values()
    packed = {"float32": "ps", "float64": "pd"}[dtype]
    assert re.search(rf"vfn?m(add|sub)\d+{packed}\s.*%[yz]mm", assembly)
    assert not re.search(r"vcvt(ps2pd|ss2sd|pd2ps|sd2ss)", assembly)


@pytest.mark.parametrize(
    ("function", "dtype"),
    [parameter(*pair, default=pair != ("erfinv", "float64")) for pair in FITS],  # that takes long
)
def test_snippets_hold_the_derived_coefficients(function: str, dtype: str) -> None:
    text = template_text(template_path(function, dtype))
    assert derived_lines(function, dtype)
    assert with_derived_lines(text, function, dtype) == text


@pytest.mark.parametrize(("function", "dtype"), [(f, dtype) for f in CALLS for dtype in SUFFIXES])
def test_a_snippet_calls_what_the_table_says(function: str, dtype: str) -> None:
    text = template_text(template_path(function, dtype))
    code = text.split('"""')[2]
    callees = {f for f in CALLS if re.search(rf"\b{emitted_name(f, dtype)}\(", code)}
    assert callees == set(CALLS[function])
    assert f"def {emitted_name(function, dtype)}(" in text


def test_blocks_hold_callees_first_and_each_once() -> None:
    wanted = [("tanh", "float32"), ("softplus", "float64"), ("exp", "float64"), ("erf", "float64"), ("tanh", "float32")]
    names = [re.findall(r"def (\w+)", text) for text in blocks(wanted)]
    assert names == [["expm1_f32"], ["tanh_f32"], ["exp_f64"], ["log1p_f64"], ["erf_f64"], ["softplus_f64"]]
    assert blocks(reversed(wanted)) == blocks(wanted)


def test_a_function_outside_the_library_is_refused() -> None:
    elsewhere = {"order", "from_order", "difference", "less_one"}  # tests of their own
    assert set(CALLS) == {*CASES, *OF_TWO, *EXACT, *elsewhere}
    assert in_library("tanh", "float32")
    assert not in_library("tanh", "int64")
    assert not in_library("gamma", "float32")
    with pytest.raises(KeyError, match=r"gamma for float32 is not in the scalar library; ask in_library first\."):
        blocks([("gamma", "float32")])


EXACT: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.where(x <= 0, 0, x),
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y))) if mp.isfinite(x - y) else max(x, y)


def xlogy(x: Any, y: Any) -> Any:
    return mpf(0) if x == 0 else None if y < 0 or (mp.isinf(x) and y == 1) else x * mp.log(y)


def polygamma(n: Any, x: Any) -> Any:
    if x <= 0 and x == mp.floor(x):
        return mp.inf if n % 2 == 1 else -mp.inf
    return mpf(0) if mp.isinf(x) else mp.polygamma(int(n), x)


class OfTwo(NamedTuple):
    reference: Callable[[Any, Any], Any]
    ulps: float
    xs: tuple[float, ...]
    ys: tuple[float, ...]


SPREAD = (-np.inf, -3e4, -87.0, -2.5, -1e-3, 0.0, 1e-30, 0.75, 1.0, 3.0, 40.0, 3e4, np.inf)
OF_TWO = {
    "logaddexp": OfTwo(logaddexp, 2.0, SPREAD, SPREAD),
    "xlogy": OfTwo(xlogy, 3.0, SPREAD, SPREAD),
    "polygamma": OfTwo(
        polygamma,
        64.0,
        (1.0, 2.0, 3.0, 5.0),
        (-40.25, -2.5, -1.0, -0.75, -1e-3, 1e-3, 0.5, 1.5, 9.0, 30.0, 1e5, np.inf),
    ),
}


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("function", OF_TWO)
def test_error_of_functions_of_two_arguments(jitted: Any, plain: Any, function: str, dtype: str) -> None:
    case, real = OF_TWO[function], np.dtype(dtype).type
    for f in (getattr(jitted, emitted_name(function, dtype)), plain[emitted_name(function, dtype)]):
        with mp.workdps(40), np.errstate(all="ignore"):
            for x, y in [(real(x), real(y)) for x in case.xs for y in case.ys]:
                z, exact = real(f(x, y)), case.reference(mpf(float(x)), mpf(float(y)))
                if exact is None:
                    assert np.isnan(z), f"{function}({x!r}, {y!r}) = {z!r}"
                else:
                    assert error_in_ulps(z, exact, 1e-30) <= case.ulps, f"{function}({x!r}, {y!r}) = {z!r}"
            for x, y in ((real(NAN), real(case.ys[0])), (real(case.xs[0]), real(NAN)), (real(0), real(NAN))):
                assert np.isnan(f(x, y)), f"{function}({x!r}, {y!r})"


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("function", EXACT)
def test_what_only_selects_is_exact(function: str, dtype: str, tmp_path: Path) -> None:
    values = np.array([np.nan, -np.inf, -2.5, -0.0, 0.0, 1e-45, 3.0, np.inf], dtype)
    arguments = np.meshgrid(*[values] * (1 if function == "relu" else 2))
    f = getattr(
        imported(tmp_path / "selecting.py", [TOP + HEADER, *blocks([(function, dtype)])]), emitted_name(function, dtype)
    )
    for call in (f, f.py_func):
        found = [call(*xs) for xs in zip(*[a.ravel() for a in arguments], strict=True)]
        np.testing.assert_array_equal(np.array(found, dtype), EXACT[function](*arguments).ravel())


@pytest.mark.parametrize("dtype", SUFFIXES)
def test_integers_in_the_order_of_the_floats(dtype: str, tmp_path: Path) -> None:
    """Every nan above infinity, both zeros in between, and back to the bit."""
    module = imported(tmp_path / "order.py", [TOP + HEADER, *blocks([("order", dtype), ("from_order", dtype)])])
    order, back = (getattr(module, emitted_name(name, dtype)) for name in ("order", "from_order"))
    values = np.array([-np.inf, -2.5, -1e-45, -0.0, 0.0, 1e-45, 3.0, np.inf], dtype)
    integer = {"float32": "int32", "float64": "int64"}[dtype]
    for f, g in ((order, back), (order.py_func, back.py_func)):
        found = [f(x) for x in values]
        assert sorted(found) == found
        assert found[-1] < min(f(values.dtype.type(np.nan)), f(values.dtype.type(-np.nan)))
        assert len(set(found)) == len(values)
        np.testing.assert_array_equal(np.array([g(np.dtype(integer).type(k)) for k in found]), values)
        assert np.isnan(g(f(values.dtype.type(np.nan))))


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_the_text_is_tidy(command: tuple[str, ...]) -> None:
    ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", "generated.py", "-"]
    root = Path(__file__).parents[2]
    done = subprocess.run(ruff, input=library_text(), cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
