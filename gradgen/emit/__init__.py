"""From a Program to text, and from text to an imported module: the last stage."""
