"""Which code is this package's, for messages and tracebacks that show the user's own.

In: the file of a frame. Out: whether it lies in this package.
"""

import os

__all__ = ["is_ours"]

# Letter for letter as Python found it: frames name files so, behind links too, and a Path would tidy it up.
_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120


def is_ours(file: str) -> bool:
    """Whether a file of a frame is one of this package, and not of one beside it with a longer name."""
    return file.startswith(_PACKAGE)
