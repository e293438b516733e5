"""NumPy's functions of whole tensors, all families in one namespace.

In: nothing of its own. Out: what `nn` and the package hand to users; each family stands in a file.
"""

from gradgen.lang import elementwise, shapes
from gradgen.lang.elementwise import *  # noqa: F403
from gradgen.lang.shapes import *  # noqa: F403

__all__ = [*elementwise.__all__, *shapes.__all__]  # lists of names
