"""The commands: `build` writes modules, `show`, `trace` and `check` look into a model, `doctor` at the machine.

In: a model file, a Python file with networks made by `gg.compile`. Out: files and text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gradgen.cli.checks import check_network
from gradgen.cli.doctor import trial
from gradgen.cli.files import (
    Dtype,
    check_sizes,
    is_folder,
    load_network,
    load_networks,
    parse_sizes,
    parse_values,
    recompiled,
    usage,
    write_generated,
)
from gradgen.cli.points import choose_point
from gradgen.cli.terminal import EXIT_CODES, app, working
from gradgen.cli.tracing import Mode, trace_network
from gradgen.cli.training import Optimiser, with_updates
from gradgen.inspect.machine import Fact, facts
from gradgen.inspect.trace import ASCII, UNICODE
from gradgen.inspect.trace_table import trace_table
from gradgen.stages import PASSES, Stage, after_pass, pass_name, stage_text
from gradgen.version import __version__

__all__ = ["build", "check", "doctor", "show", "trace"]


def _complete(incomplete: str) -> list[str]:
    return [name for name in PASSES if name.startswith(incomplete)]


def _examples(*lines: str) -> str:
    """Examples one below the other (that is what the \\b asks for), then the exit codes."""
    return "\n".join(["\b", "Examples:", *[f"  gradgen {line}" for line in lines], "", EXIT_CODES])


def _complete_file(incomplete: str) -> list[str]:
    """Python files, and folders that they may be in."""
    before = incomplete[: incomplete.rfind("/") + 1]
    if not Path(before).is_dir():
        return []
    found = [path for path in Path(before).iterdir() if path.is_dir() or path.suffix == ".py"]
    names = [f"{before}{path.name}/" if path.is_dir() else f"{before}{path.name}" for path in found]
    return sorted(name for name in names if name.startswith(incomplete))


Model = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:NAME]",
        help="A Python file that calls gg.compile; NAME is one of its variables.",
        autocompletion=_complete_file,
    ),
]
WantedDtype = Annotated[Dtype | None, typer.Option("--dtype", help="What float32 becomes.")]
Sizes = Annotated[list[str] | None, typer.Option("--size", metavar="B=256", help="A number for a size; repeatable.")]
Values = Annotated[
    list[str] | None, typer.Option("--at", metavar="x=2", help="A number or a list for a tensor; repeatable.")
]
Seed = Annotated[int, typer.Option("--random-seed", help="Of the numbers that are drawn where --at gives none.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gradgen {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command(
    short_help="Write the generated modules of a model file.",
    epilog=_examples(
        "build examples/quickstart.py -o build/quickstart.py",
        "build examples/canaries.py -o build --dtype float64",
        "build examples/canaries.py:mlp_net --size B=32 --updates adam --lr 1e-3",
    ),
)
def build(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, or a folder. Without it: NAME_grad.py right here, or NAME_train.py with updates.",
        ),
    ] = None,
    updates: Annotated[
        Optimiser | None, typer.Option(help="Add a training step by this optimiser, for a network with a scalar loss.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="The step length of the optimiser.")] = None,
    dtype: WantedDtype = None,
    size: Sizes = None,
) -> None:
    """Compile the networks of a model file and write the generated modules.

    The file is run as a module, so what stands under `if __name__ == "__main__":` is left out.
    """
    if lr is not None and updates is None:
        usage("--lr belongs to --updates, as in --updates adam --lr 1e-3.")
    sizes = parse_sizes(size)
    with working(f"compiling {model}"):
        declared = load_networks(model)
        check_sizes(declared, sizes)
        networks = {
            name: recompiled(network, dtype, sizes)
            if updates is None
            else with_updates(network, updates, lr, dtype, sizes)
            for name, network in declared.items()
        }
    folder = output is None or is_folder(output) or len(networks) > 1
    if output is not None and len(networks) > 1 and not is_folder(output) and output.exists():
        usage(f"{output} is a file, and {model} has {len(networks)} networks: {', '.join(networks)}. Give a folder.")
    for network in networks.values():
        place = output if output is not None else Path()
        kind = "train" if network.model.updates else "grad"
        path = place / f"{network.model.name}_{kind}.py" if folder else place
        typer.echo(write_generated(network, path))
    typer.echo(f"Try {'it' if len(networks) == 1 else 'one'}: python {path}", err=True)


@app.command(
    short_help="Print formulas after a pass, loops, or source.",
    epilog=_examples(
        "show examples/quickstart.py",
        "show examples/quickstart.py --stage adjoint",
        "show examples/canaries.py:attention_net --after gather",
    ),
)
def show(
    model: Model,
    stage: Annotated[
        Stage | None,
        typer.Option(help="graph (as declared), adjoint (gradients after all passes), program (loops) or source."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="PASS", help=f"One of {', '.join(PASSES)}.", autocompletion=_complete),
    ] = None,
    dtype: WantedDtype = None,
    size: Sizes = None,
) -> None:
    """Print the formulas of a model after a pass, or one of the stages from graph to source (default: graph)."""
    if stage is not None and after is not None:
        usage("give --stage or --after, not both.")
    if after is not None and pass_name(after) not in PASSES:
        usage(f"there is no pass {after!r}; the passes are {', '.join(PASSES)}.")
    sizes = parse_sizes(size)
    with working(f"compiling {model}"):
        declared = load_networks(model)
        check_sizes(declared, sizes)
        networks = {name: recompiled(network, dtype, sizes) for name, network in declared.items()}
        texts = {
            name: stage_text(network, stage or Stage.graph) if after is None else after_pass(network, pass_name(after))
            for name, network in networks.items()
        }
    for name, text in texts.items():
        if len(texts) > 1:
            typer.echo(f"# {name}")
        _print(text)


@app.command(
    short_help="Print operations, values and adjoints, as on paper.",
    epilog=_examples(
        "trace examples/quickstart.py --at x1=2 --at x2=5",
        "trace examples/quickstart.py --at x1=2 --at x2=5 --mode forward --seed x1",
        "trace examples/canaries.py:mlp_net --size B=2",
    ),
)
def trace(
    model: Model,
    at: Values = None,
    mode: Annotated[Mode, typer.Option(help="reverse: adjoints of everything; forward: tangents.")] = Mode.reverse,
    seed: Annotated[
        list[str] | None,
        typer.Option(metavar="x1", help="Whose tangent is 1 in forward mode; x1=0.5 is another number; repeatable."),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", metavar="NAME", help="Which output, of several.")] = None,
    size: Sizes = None,
    random_seed: Seed = 0,
) -> None:
    """Automatic differentiation on paper: every operation of a small model, its value, and its adjoint beside it.

    v-1, v0 and the like are the inputs, v1 the first operation. Adjoints are read upwards: they begin at the output.
    """
    network, sizes = load_network(model, "trace"), parse_sizes(size)
    check_sizes({network.model.name: network}, sizes)
    if set(sizes) & set(network.options.sizes):
        network = recompiled(network, None, sizes)
    if seed and mode is not Mode.forward:
        usage("--seed belongs to --mode forward; in reverse mode the output's adjoint is 1.")
    console = Console()
    notation = UNICODE if console.encoding.startswith("utf") else ASCII
    with working(f"tracing {network.model.name}"):
        point = choose_point(network, parse_values(at), sizes, random_seed, first=2)
        found = trace_network(network, point, mode, output, seed or [], notation)
    console.print(trace_table(found, mode.value, console.width))
    _say(point.notes)


@app.command(
    short_help="Check gradients and compiled code of a model file.",
    epilog=_examples(
        "check examples/quickstart.py --at x1=2 --at x2=5",
        "check examples/canaries.py:mlp_net --size B=32 --dtype float64",
    ),
)
def check(
    model: Model,
    at: Values = None,
    dtype: WantedDtype = None,
    size: Sizes = None,
    random_seed: Seed = 0,
) -> None:
    """Check the networks of a model file: gradients by difference quotients, compiled code by the interpreter.

    A gradient is compared with central differences and with forward mode along random directions. Outputs, gradients
    and updates of the compiled code are compared with the formulas themselves, evaluated by NumPy without any pass.
    """
    sizes, values = parse_sizes(size), parse_values(at)
    with working(f"compiling {model}"):
        networks = load_networks(model)
    check_sizes(networks, sizes)
    wrong = []
    for name, network in networks.items():
        with working(f"checking {name}"):
            chosen = recompiled(network, dtype, sizes)
            point = choose_point(chosen, values, sizes, random_seed, first=5)
            report = check_network(chosen, point, random_seed)
        typer.echo(f"{name}: {network.model.name}")
        _say(point.notes)
        typer.echo(f"{report}\n")
        if not report:
            wrong.append(name)
    if wrong:
        typer.echo(f"The check of {', '.join(wrong)} failed.")
        raise typer.Exit(1)
    typer.echo(f"{', '.join(networks)}: all is well.")


@app.command(short_help="Say what gradgen stands on here, and try it.", epilog=_examples("doctor"))
def doctor() -> None:
    """Say what gradgen stands on: versions, processor, threads, BLAS, CUDA, cache; compile and check a small model."""
    with working("looking around"):
        found = list(facts())
    width = max(len(fact.name) for fact in found)
    _tell(found, width)
    with working("compiling a small model"):
        last = trial()
    _tell([last], width)
    problems = sum(not fact.ok for fact in [*found, last])
    if problems:
        typer.echo(f"{problems} of these need{'s' if problems == 1 else ''} attention, marked with !")
        raise typer.Exit(1)
    typer.echo("All is well.")


def _tell(told: Sequence[Fact], width: int) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=1)
    table.add_column(min_width=width)
    table.add_column(overflow="fold")
    for fact in told:
        table.add_row("" if fact.ok else "!", Text(fact.name), Text(fact.value))
    Console().print(table)


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        typer.echo(f"Chosen here: {note}.")


def _print(text: str) -> None:
    console = Console()
    if console.is_terminal:
        console.print(Syntax(text, "python", background_color="default"))
    else:
        typer.echo(text.rstrip("\n"))
