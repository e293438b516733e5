"""The module that holds a CPU program: classes, workspace, scalar functions, kernels, entry points.

In: a `Program`. Out: the text of a file, its lines from `CpuPrinter`, arranged by the template of `cpu/`.
"""

from collections.abc import Sequence

from gradgen.emit.cpu import OPTIONS, CpuPrinter, size_sources
from gradgen.emit.cpu_passes import for_cpu, functions, names_of_functions
from gradgen.emit.cpu_sizes import fitting_function, opening, sizes_compared
from gradgen.emit.layout import WIDTH, fill, signature, title, wrap
from gradgen.emit.scalar_library import HEADER, blocks
from gradgen.emit.templates import render
from gradgen.graph.names import free_name
from gradgen.graph.sizes import size_names
from gradgen.machine import machine
from gradgen.program.holders import CLASS_NAMES, HOLDERS, entry_holders, held, workspace_sizes
from gradgen.program.kernels import (
    Entry,
    KernelCall,
    Program,
    Repeat,
    Row,
    divided,
)
from gradgen.program.loops import Buffer

# What the text does on purpose; behind this line, in front of imports, a module may say more of itself.
NOQA = "# ruff: noqa: FURB136, PLR0124, RUF100  max(0, u) would turn a nan into 0; x != x finds a nan"


def render_module(program: Program) -> str:
    """The text of the module that holds a program."""
    program = for_cpu(program)
    taken = names_of_functions(program).union(*map(_names_in_entry, program.entries))
    printer = CpuPrinter(taken=taken)
    printer.rows = {b: (stack.buffer, at) for stack in program.stacks for at, b in enumerate(stack.members)}
    texts = [printer.kernel(k) for k in functions(program)]
    fitted = free_name("fitted", taken)
    texts += fitting_function(printer, program, fitted)
    texts += [f for entry in program.entries for f in _entry(printer, program, entry, fitted, taken)]
    classes = [_class(key, program, printer) for key in HOLDERS if held(program, key)]
    return render(
        "cpu/module.py.j2",
        title=title(program, " for the CPU"),
        header=[f"   {line}" if line else "" for text in program.formulas for line in _indented(text)],
        noqa=NOQA,
        scalar_header=HEADER.rstrip() if printer.used else "",
        scalar_blocks=[block.rstrip("\n") for block in blocks(printer.used)],
        aliases=[f"{alias} = {name}" for name, alias in printer.aliases.items()],
        classes=classes,
        workspace=_workspace(program, printer),
        from_numba=_from_numba(program),
        functions=texts,
    )


def _indented(text: str) -> list[str]:
    """A line of the head in several, none of which leaves the column of line numbers."""
    plain = text.lstrip()
    margin = text[: len(text) - len(plain)]
    return [margin + line for line in wrap(plain, WIDTH - len(margin))]


def _from_numba(program: Program) -> str:
    """The names that the module imports from Numba."""
    counted = ["get_num_threads"] if program.parts is None else []
    return ", ".join([*counted, "njit", "prange"] if divided(program) else ["njit"])


def _class(key: str, program: Program, printer: CpuPrinter) -> dict[str, object]:
    fields = []
    stacked = {stack.buffer: stack.members for stack in program.stacks}
    idle = {b for entry in program.entries for b in entry.idle}
    for b in held(program, key):
        names = f": {stacked[b][0].name} .. {stacked[b][-1].name}" if b in stacked else ""
        fields.append(
            f"{b.name}: np.ndarray  # {b.dtype} ({printer.shape(b.shape)}){names}"
            + ("  saved for backward" if b.role == "saved" else "")
            + ("  its length is the number of parts" if b in idle and b.role == "work" else "")
        )
    return {"name": CLASS_NAMES[key], "fields": fields}


def _workspace(program: Program, printer: CpuPrinter) -> dict[str, object]:
    arrays = held(program, "w")
    shapes = [f"({printer.lengths(b.shape)})" for b in arrays]
    dtypes = [f"np.{'bool_' if b.dtype == 'bool' else b.dtype}" for b in arrays]
    counts = {printer.size(s.count) for s in divided(program) if any(s.count is b.shape[0] for b in arrays if b.shape)}
    number = "get_num_threads()" if program.parts is None else f"{program.parts}  # on any number of threads"
    lines = [f"{count} = {number}" for count in counts]
    sizes = workspace_sizes(program)
    several = free_name("shapes", sizes)
    shape = free_name("shape", sizes)
    every = f"{several} = {', '.join(shapes)}"
    if len(arrays) > 1 and len(set(dtypes)) == 1 and len(every) <= WIDTH:
        lines += [every, f"return Work(*(np.empty({shape}, {dtypes[0]}) for {shape} in {several}))"]
    else:
        made = [f"np.empty({shape}, {dtype})" for shape, dtype in zip(shapes, dtypes, strict=True)]
        lines += ["return Work(", *(f"    {array}," for array in made), ")"]
    return {"sizes": sizes, "lines": lines if arrays else []}


def _names_in_entry(entry: Entry) -> set[str]:
    """What an entry point calls its arguments and variables, but for its holders."""
    used = {b for call in entry.kernel_calls for b in call.buffers} | set(entry.returns)
    found = {
        *(b.name for b in _plain_parameters(entry)),
        *(b.name for b in used if b.by_value or b.alias_of is not None),
    }
    found |= {s for call in entry.kernel_calls for s in call.sizes}
    return found | {x.letter for x in entry.calls if isinstance(x, Repeat)}


def _entry(
    printer: CpuPrinter, program: Program, entry: Entry, fitted: str, taken: set[str]
) -> list[dict[str, object]]:
    """An entry point, and where it has tests and many arrays, in front of it the function that computes."""
    plain = _plain_parameters(entry)
    bare = _names_in_entry(entry) | sizes_compared(program, entry)
    printer.holders = {key: free_name(key, bare) for key in HOLDERS}  # `g` is the user's if an input is
    holders = entry_holders(program, entry)
    parameters = [*(b.name for b in plain), *(printer.holders[key] for key in holders)]
    doc = _entry_doc(program, entry, plain, printer, parameters)
    through = [] if {"forward", "backward"} & bare else _through_others(printer, program, entry)
    if through:
        return [_function(entry.name, parameters, [*doc, *through])]
    needed = _sizes_needed(entry)
    begin = opening(printer, program, entry, needed, parameters, fitted)
    calls = _calls(printer, entry)
    if not begin.tests or sum(len(held(program, key)) for key in holders) <= machine().fields:
        return [_function(entry.name, parameters, [*doc, *(begin.lines() + calls or ["pass"])])]
    # in a function with branches Numba copies a whole named tuple for each field that is read: quadratic in the fields
    inner = free_name(f"{entry.name}_fitted", taken | bare)
    says = f'"""What {entry.name} computes, with arrays that fit."""'
    return [
        _function(inner, parameters, [says, *begin.sizes(needed), *calls]),
        _function(
            entry.name,
            parameters,
            [
                *doc,
                *begin.sizes(begin.tested),
                *begin.tests,
                *fill(f"return {inner}(" if entry.returns else f"{inner}(", parameters),
            ],
        ),
    ]


def _function(name: str, parameters: Sequence[str], lines: Sequence[str]) -> dict[str, object]:
    return {"options": OPTIONS, "signature": signature(name, parameters), "lines": lines}


def _plain_parameters(entry: Entry) -> list[Buffer]:
    """What an entry takes beside its holders."""
    return [b for b in entry.parameters if b.role in ("input", "cotangent") and b.alias_of is None]


def _through_others(printer: CpuPrinter, program: Program, entry: Entry) -> list[str]:
    """The lines of an entry that does what `forward` does and then what `backward` does for a cotangent of 1."""
    others = {e.name: e for e in program.entries if e is not entry}
    if "forward" not in others or "backward" not in others:
        return []
    ahead, back = others["forward"], others["backward"]
    calls = (*ahead.calls, *back.calls)
    if ahead.returns != entry.returns or len(calls) != len(entry.calls) or not all(map(_alike, calls, entry.calls)):
        return []
    lines: list[str] = []
    for other, results in ((ahead, _listed(ahead.returns)), (back, "")):
        given = [printer.literal(1.0, b.dtype) if b.role == "cotangent" else b.name for b in _plain_parameters(other)]
        given += [printer.holders[key] for key in entry_holders(program, other)]
        lines += fill(f"{results} = {other.name}(" if results else f"{other.name}(", given)
    return [*lines, f"return {_listed(entry.returns)}"] if entry.returns else lines


def _listed(results: Sequence[Buffer]) -> str:
    return ", ".join(b.name for b in results)


def _alike(other: KernelCall | Repeat, mine: KernelCall | Repeat) -> bool:
    """Whether two calls are the same, but for a 1 where the other one has a cotangent."""
    if isinstance(other, Repeat) or isinstance(mine, Repeat):
        return other == mine
    same = (other.kernel, other.sizes, other.results) == (mine.kernel, mine.sizes, mine.results)
    pairs = zip(other.arguments, mine.arguments, strict=True) if same else ()
    ones = (x is y or x == y or (_role(x) == "cotangent" and _role(y) == "one") for x, y in pairs)
    return same and all(ones)


def _role(x: Buffer | Row) -> str:
    return x.role if isinstance(x, Buffer) else ""


def _sizes_needed(entry: Entry) -> set[str]:
    """The sizes that the calls of an entry take, but for those that its kernels read off their arrays."""
    needed = {s for call in entry.kernel_calls for s in call.sizes if s not in size_sources(call.sizes, call.arguments)}
    views = {b for call in entry.kernel_calls for b in call.buffers if b.alias_of is not None}
    return needed | {s for b in views for extent in b.shape for s in size_names(extent)}


def _calls(printer: CpuPrinter, entry: Entry) -> list[str]:
    """The calls of an entry, and the values that it returns."""
    lines: list[str] = []
    made: set[Buffer] = set()
    last = entry.calls[-1] if entry.calls else None
    returned = isinstance(last, KernelCall) and last.results == entry.returns and bool(entry.returns)
    for statement in entry.calls:
        inner = statement.calls if isinstance(statement, Repeat) else (statement,)
        for b in dict.fromkeys(b for call in inner for b in call.buffers):
            if b.alias_of is not None and b not in made:
                made.add(b)
                lines.append(f"{b.name} = {printer.holder(b.alias_of)}.reshape(({printer.lengths(b.shape)}))")
        if isinstance(statement, Repeat):
            lines.append(f"for {statement.letter} in range({statement.count}):")
        for call in inner:
            pad = "    " if isinstance(statement, Repeat) else ""
            lines += [pad + line for line in printer.call(call, len(pad), returned and call is last)]
    return lines if returned or not entry.returns else [*lines, f"return {_listed(entry.returns)}"]


WRITTEN = {"forward": ("out",), "backward": ("g",), "value_and_grad": ("out", "g"), "step": ("out", "p", "s")}


def _entry_doc(
    program: Program, entry: Entry, plain: Sequence[Buffer], printer: CpuPrinter, taken: Sequence[str]
) -> list[str]:
    """What an entry takes beside its holders, where its results are, and what it leaves to `check`."""
    shapes = [f"{b.name} ({printer.shape(b.shape)})" if b.shape else b.name for b in plain]
    if entry.name == "backward" and printer.holders["w"] in taken:
        shapes.append(f"{printer.holders['w']} of forward")
    results = [b.name for b in entry.returns]
    results += [printer.holders[key] for key in WRITTEN.get(entry.name, ()) if printer.holders[key] in taken]
    text = " ".join([", ".join(shapes), *(["->", ", ".join(results)] if results else [])]).strip() or entry.name
    if entry.name == "check":
        text += ": how many subscripts leave their axis"
    elif any(e.name == "check" for e in program.entries):
        text += "; does not call check"
    first, *rest = [line.strip() for line in wrap(text, WIDTH - 6)]
    return [f'"""{first}', *rest[:-1], f'{rest[-1]}"""'] if rest else [f'"""{first}"""']
