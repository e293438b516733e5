"""The commands: `build` writes generated modules, `show` prints what each stage made of a model.

In: a model file, a Python file with networks made by `gg.compile`. Out: files and text.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from gradgen.cli.files import load_networks, parse_sizes, recompiled, usage, write_generated
from gradgen.cli.stages import PASSES, Stage, after_pass, pass_name, stage_text
from gradgen.cli.terminal import app, working
from gradgen.version import __version__

__all__ = ["build", "show"]


def _complete(incomplete: str) -> list[str]:
    return [name for name in PASSES if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(metavar="FILE[:NAME]", help="A Python file that calls gg.compile; NAME is one of its variables."),
]
Dtype = Annotated[str | None, typer.Option(help="What float32 becomes: float32 or float64.")]
Sizes = Annotated[list[str] | None, typer.Option("--size", metavar="B=256", help="A number for a size; repeatable.")]


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


@app.command(epilog="Example: gradgen build examples/quickstart.py -o build/quickstart.py --size N=100")
def build(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, or a folder. Without it: NAME_grad.py right here."),
    ] = None,
    dtype: Dtype = None,
    size: Sizes = None,
) -> None:
    """Compile the networks of a model file and write the generated modules.

    The file is run as a module, so what stands under `if __name__ == "__main__":` is left out.
    """
    sizes = parse_sizes(size)
    with working(f"compiling {model}"):
        networks = {name: recompiled(network, dtype, sizes) for name, network in load_networks(model).items()}
    folder = output is None or output.is_dir() or len(networks) > 1
    if output is not None and output.exists() and not output.is_dir() and len(networks) > 1:
        usage(f"{output} is a file, and {model} has {len(networks)} networks: {', '.join(networks)}. Give a folder.")
    for network in networks.values():
        place = output if output is not None else Path()
        path = place / f"{network.model.name}_grad.py" if folder else place
        typer.echo(write_generated(network, path))


@app.command(
    epilog="Examples: gradgen show examples/quickstart.py --stage adjoint; "
    "gradgen show examples/quickstart.py:net --after gather"
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
    dtype: Dtype = None,
    size: Sizes = None,
) -> None:
    """Print the formulas of a model after a pass, or one of the stages from graph to source (default: graph)."""
    if stage is not None and after is not None:
        usage("give --stage or --after, not both.")
    if after is not None and pass_name(after) not in PASSES:
        usage(f"there is no pass {after!r}; the passes are {', '.join(PASSES)}.")
    sizes = parse_sizes(size)
    with working(f"compiling {model}"):
        networks = {name: recompiled(network, dtype, sizes) for name, network in load_networks(model).items()}
        texts = {
            name: stage_text(network, stage or Stage.graph) if after is None else after_pass(network, pass_name(after))
            for name, network in networks.items()
        }
    for name, text in texts.items():
        if len(texts) > 1:
            typer.echo(f"# {name}")
        _print(text)


def _print(text: str) -> None:
    console = Console()
    if console.is_terminal:
        console.print(Syntax(text, "python", background_color="default"))
    else:
        typer.echo(text.rstrip("\n"))
