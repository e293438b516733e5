"""The named tuples that entry points take: parameters, states, workspace, outputs, gradients.

In: a `Program`. Out: which arrays each of them carries, and the sizes that a workspace has.
"""

from gradgen.graph.sizes import size_names
from gradgen.program.kernels import Entry, Program, divided
from gradgen.program.loops import Buffer

__all__ = ["CLASS_NAMES", "HOLDERS", "HOLDER_OF", "entry_holders", "held", "part_counts", "workspace_sizes"]

HOLDERS: dict[str, tuple[str, ...]] = {
    "p": ("param",), "s": ("state", "constant"), "w": ("saved", "work"), "out": ("output",), "g": ("gradient",),
}  # fmt: skip
CLASS_NAMES = {"p": "Params", "s": "State", "w": "Work", "out": "Outputs", "g": "Gradients"}
HOLDER_OF = {role: key for key, roles in HOLDERS.items() for role in roles}


def held(program: Program, key: str) -> list[Buffer]:
    """The arrays that a holder (`p`, `s`, `w`, `out`, `g`) carries, in the order of its fields."""
    stacked = {b: stack.buffer for stack in program.stacks for b in stack.members}
    found = [b for b in program.buffers if b.role in HOLDERS[key] and not b.by_value and b.alias_of is None]
    return list(dict.fromkeys(stacked.get(b, b) for b in found))


def entry_holders(program: Program, entry: Entry) -> list[str]:
    """The holders that an entry takes, in the order of its parameters."""
    used = {*entry.idle, *(b for call in entry.kernel_calls for b in call.buffers)}
    used |= {b.memory for b in used}
    used |= {stack.buffer for stack in program.stacks if not used.isdisjoint(stack.members)}
    return [key for key in HOLDERS if any(b in used for b in held(program, key))]


def workspace_sizes(program: Program) -> list[str]:
    """The size symbols that the workspace depends on."""
    found = {s for b in held(program, "w") for extent in b.shape for s in size_names(extent)}
    return sorted(found - part_counts(program))


def part_counts(program: Program) -> set[str]:
    """The names of the numbers of parts, which a workspace has for itself."""
    return {name for s in divided(program) for name in size_names(s.count)}
