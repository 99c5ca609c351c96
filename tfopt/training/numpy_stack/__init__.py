"""Populations of small networks in NumPy: no graph to trace, and products that small steps do not drown in calls."""
