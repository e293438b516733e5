"""Interning: equal records are the same object, so `is` is equality and sharing is free.

In: a class and its fields. Out: the one live record with these fields; `scalar` and `nodes` build on it.
"""

import hashlib
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_live: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_lock = RLock()


def intern(cls: Callable[..., T], *fields: Hashable) -> T:
    """The record `cls(*fields)`; fields compare by identity where they are records, by value and type otherwise."""
    return intern_built(cls, fields, lambda: cls(*fields))


def intern_built(cls: Callable[..., T], fields: tuple[Hashable, ...], build: Callable[[], T]) -> T:
    """The record of a class with these fields, built only if it is new."""
    key = (cls, fields)
    with _lock:
        found: T | None = _live.get(key)
        if found is None:
            found = _live[key] = build()
        return found


def digest_of(*parts: object) -> str:
    """A short content digest: the order of terms, names and files follows it, never the order of construction."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
