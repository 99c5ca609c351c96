"""Engines: everything that trains the configurations a search proposes, slowest and plainest first.

`PlainEngine` is `build`, `model.fit`, again and again. The others give its results faster.
"""
