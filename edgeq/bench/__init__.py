"""How EdgeQ measures: latency, accuracy, memory, energy, and the session that puts them together.

Importing this package imports none of its parts; `edgeq.bench.session.measure` is the entrance.
"""
