"""Compiled networks inside other programs: a module for each, imported by its own name, which needs its package."""
