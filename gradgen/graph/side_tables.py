"""What is known of nodes beside their fields: tables that never make equal nodes different, and that pickles carry.

In: the name of a table. Out: the table, by nodes. What could be found out again, such as results of passes, belongs in
a cache, which is not listed here.
"""

from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["TABLES", "side_table"]

TABLES: dict[str, WeakKeyDictionary[Any, Any]] = {}


def side_table(name: str) -> WeakKeyDictionary[Any, Any]:
    """The table of this name, which is empty at first. Its values pickle, and hold nodes as fields of records."""
    return TABLES.setdefault(name, WeakKeyDictionary())
