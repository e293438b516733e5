"""From graphs to a program: places for values, statements, functions, names."""
