"""What is kept between a forward pass and its backward passes.

In: the room that a call worked in. Out: `Saved`, which gives it back to the others when nobody needs it any more.
"""

from typing import Any, Never

from gradgen.errors import BindingError
from gradgen.runtime.calls import Plan, Room
from gradgen.runtime.interface import Interface

__all__ = ["Saved", "refuse_others_saved"]


class Saved:
    """What a forward pass keeps for its backward pass: private, good for any number of backward passes.

    The arguments are those of the call: who writes into one before `backward` changes what it finds.
    """

    def __init__(self, interface: Interface, room: Room, plan: Plan, arguments: dict[str, Any]) -> None:
        self.interface = interface
        self.room = room
        self.plan = plan
        self.arguments = arguments

    def __del__(self) -> None:
        if hasattr(self, "room"):  # tracers make objects without __init__
            self.plan.free.append(self.room)

    def __reduce__(self) -> Never:
        """Copies would give one workspace back twice."""
        raise TypeError("what forward keeps for backward cannot be copied or pickled")


def refuse_others_saved(interface: Interface, saved: Any) -> None:
    """Refuse what no forward pass of this network has kept."""
    if not isinstance(saved, Saved) or saved.interface is not interface:
        raise BindingError(
            f"{interface.name}.backward takes what forward of the same network returns second: "
            "out, saved = net.forward(...); net.backward(saved, loss=1.0)."
        )
