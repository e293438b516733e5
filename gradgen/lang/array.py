"""NumPy's functions of whole tensors, all families in one namespace.

In: nothing of its own. Out: what `nn` and the package hand to users; each family stands in a file.
"""

from gradgen.lang import constants, elementwise, products, selecting, shapes, statistics
from gradgen.lang.constants import *  # noqa: F403
from gradgen.lang.elementwise import *  # noqa: F403
from gradgen.lang.products import *  # noqa: F403
from gradgen.lang.selecting import *  # noqa: F403
from gradgen.lang.shapes import *  # noqa: F403
from gradgen.lang.statistics import *  # noqa: F403

__all__ = [
    *constants.__all__,
    *elementwise.__all__,
    *products.__all__,
    *selecting.__all__,
    *shapes.__all__,
    *statistics.__all__,
]
