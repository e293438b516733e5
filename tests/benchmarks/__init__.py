"""Training steps and kernels, timed against PyTorch, JAX and PyTensor: `python -m tests.benchmarks`."""
