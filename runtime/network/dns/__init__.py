"""Names inside networks: records as files, and the process that answers from them.

The reconciler writes records (`records`), keeps one server (`process`) and observes both. The server (`server`)
stands alone: it outlives the engine, and its only inputs are files and packets.
"""
