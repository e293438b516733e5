"""Parameters as rows of stacks, as one vector, and in files.

In: an `Interface`, and arrays by name or a file. Out: the same arrays in stacks; a vector and views of it in the shapes
of the parameters; a file, or the arrays in it. What becomes a vector or a file is held to what the model declares, as
the arrays of a call are. `network` has the methods.
"""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.errors import BindingError, DTypeError, FileError, GradgenError, GraphError, OptionError
from gradgen.files import save_file
from gradgen.graph.nodes import CARRIED
from gradgen.graph.scalar import FLOATS
from gradgen.runtime.bindings import Array, as_array, bind_sizes, check_fits, check_names, rows_of, widened
from gradgen.runtime.interface import Interface

__all__ = ["differentiated", "flatten", "in_stacks", "load_arrays", "save_arrays"]


def in_stacks(interface: Interface, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same values by the same names; those of equal layers as rows of one array."""
    found = dict(arrays)
    for x in interface.stacks:
        names = [f.name for f in interface.fields[x.holder][x.at : x.at + x.count]]
        if all(name in found for name in names):
            found |= zip(names, rows_of(np.stack([found[name] for name in names])), strict=True)
    return found


# ---------------------------------------------------------------- one vector


def flatten(interface: Interface, arrays: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
    """A new vector of all elements, and views of it by name; `Network.flatten` says more."""
    names = differentiated(interface)
    declared = {x.name: x for x in interface.leaves}
    if not names:
        raise GraphError(f"{interface.name} has no float parameters to put into a vector.")
    first = declared[names[0]]
    for name in names:
        if declared[name].dtype != first.dtype:
            raise DTypeError(
                f"{name} is {declared[name].dtype} and {first.name} {first.dtype}; the elements of a vector have one "
                'dtype. Use gg.compile(..., dtype="float64").'
            )
    given = _fitting(interface, names, arrays, "flatten")
    vector = np.empty(sum(x.size for x in given.values()), first.dtype)
    views: dict[str, Array] = {}
    at = 0
    for name, x in given.items():
        views[name] = vector[at : at + x.size].reshape(x.shape)
        views[name][...] = x
        at += x.size
    return vector, views


def differentiated(interface: Interface) -> list[str]:
    """What gradients are taken by, else the float parameters; ordered as the holders are, where stacks lie together."""
    wanted = {x.of for x in interface.fields["g"]}
    wanted = wanted or {x.name for x in interface.leaves if x.role == "param" and x.dtype in FLOATS}
    order = [*interface.fields["p"], *interface.fields["s"], *interface.leaves]
    return [name for name in dict.fromkeys(x.name for x in order) if name in wanted]


def _fitting(
    interface: Interface, names: Sequence[str], arrays: Mapping[str, Any], method: str, own: bool = True
) -> dict[str, Array]:
    """The arrays by name, in this order, when each has the dtype and the shape that the model declares."""
    what = f"{interface.name}.{method}"
    if not isinstance(arrays, Mapping):
        raise BindingError(f"{what} takes a dict of arrays by name, not {type(arrays).__name__}.")
    check_names(arrays, names, what)
    declared = {x.name: x for x in interface.leaves}
    found = {name: widened(declared[name], as_array(declared[name], arrays[name])) for name in names}
    sizes = bind_sizes([declared[name] for name in names], found, interface.sizes)
    for name, array in found.items():
        check_fits(declared[name], array, sizes, own and array is arrays[name])
    return found


# ---------------------------------------------------------------- files


def save_arrays(interface: Interface, path: Path, arrays: Mapping[str, Any]) -> None:
    """Write all parameters and states; `Network.save_state` says more."""
    write, _ = _format(path)
    found = _fitting(interface, _kept(interface), arrays, "save_state")
    save_file(path, write({name: np.asarray(x, order="C") for name, x in found.items()}))


def load_arrays(interface: Interface, path: Path, only: str | None = None) -> dict[str, Array]:
    """Read all parameters and states, each into an array of its own; `Network.load_state` says more."""
    _, read = _format(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        arrays = read(data)
    except GradgenError:
        raise
    except Exception as error:  # what the bytes of a foreign file make a reader raise is anybody's guess
        kind = path.suffix.lower()
        raise FileError(
            f"{path} is no whole {kind} file: cut off, damaged, or something else. Save it again."
        ) from error
    native = {name: np.array(x, x.dtype.newbyteorder("="), order="C") for name, x in arrays.items()}
    parameters = [x.name for x in interface.leaves if x.role == "param"]
    wanted = parameters if only == "params" else _kept(interface)
    try:
        given = native if only is None else {name: x for name, x in native.items() if name in wanted}
        return _fitting(interface, wanted, given, "load_state", own=False)
    except GradgenError as error:
        hint = ""
        if only is None and native.keys() > set(wanted):
            hint = ' What this network has is all there: load_state(path, only="known") reads it alone.'
        elif only is None and native.keys() != set(wanted) and native.keys() >= set(parameters):
            hint = ' The parameters are all there: load_state(path, only="params") reads them alone.'
        raise type(error)(f"{path}: {error}{hint}") from None


def _kept(interface: Interface) -> list[str]:
    """What a network carries from call to call."""
    return [x.name for x in interface.leaves if x.role in CARRIED]


def _npz(arrays: Mapping[str, Array]) -> memoryview:
    """As np.savez does, which has no place for an array called `file`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, x in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, x, allow_pickle=False)
    return buffer.getbuffer()


def _from_npz(data: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    return {name: np.lib.format.read_array(io.BytesIO(x), allow_pickle=False) for name, x in members.items()}


def _safetensors(arrays: Mapping[str, Array]) -> bytes:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise _not_installed() from error
    return bytes(save(dict(arrays)))


def _from_safetensors(data: bytes) -> dict[str, Array]:
    try:
        from safetensors.numpy import load
    except ImportError as error:
        raise _not_installed() from error
    return dict(load(data))


def _not_installed() -> OptionError:
    return OptionError("files that end in .safetensors need a package: pip install safetensors. Or use .npz.")


Format = tuple[Callable[[Mapping[str, Array]], bytes | memoryview], Callable[[bytes], dict[str, Array]]]
FORMATS: dict[str, Format] = {".npz": (_npz, _from_npz), ".safetensors": (_safetensors, _from_safetensors)}


def _format(path: Path) -> Format:
    """How files of this name are written and read."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise OptionError(f"{path} has no ending that says what it holds: use one of {', '.join(FORMATS)}.")
    return found
