"""After differentiation, from graph to graph: the same values from less work, in the form that loops want."""
