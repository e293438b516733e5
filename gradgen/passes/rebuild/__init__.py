"""What passes on graphs are made of: rebuilding nodes and formulas, looking through them, conditions, products."""
