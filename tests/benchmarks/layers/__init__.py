"""The layers of gradgen.nn in the benchmark, and training steps of networks that are made of them."""
