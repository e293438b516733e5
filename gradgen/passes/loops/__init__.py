"""From program to program: bounds, code motion, threads, memory shared, equal functions once."""
