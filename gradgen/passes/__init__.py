"""The compiler, a folder for each stage, in the order in which a model goes through them.

`prepare`, `derive` and `rewrite` take a graph and return one, `schedule` says which formulas share loops, `lower`
writes the loops as a program, `loops` takes a program and returns one. `rebuild` is what passes on graphs are made of.
"""
