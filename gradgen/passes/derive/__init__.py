"""Adjoints and tangents: one rule for a formula, one for a scan, one for what the user gave."""
