"""Which formulas share loops, and which values are kept, computed again or never stored."""
