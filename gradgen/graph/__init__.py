"""The expression graph: interned scalar bodies, sizes, tensor nodes. Everything else is a function over it."""
