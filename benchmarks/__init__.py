"""How fast the engine is, against what the kernel itself takes and against other engines. `python -m benchmarks`."""
