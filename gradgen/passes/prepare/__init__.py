"""Before differentiation: what the derivatives shall be those of."""
