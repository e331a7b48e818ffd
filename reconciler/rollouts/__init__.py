"""How a Service's replicas come to be others: a few at a time, each watched until it is well, taken back if it is not.

`state`, `pace`, `turns` and `substitution` are pure: what is known, what follows from a look, which actions of a plan
may be done now, and which manifests are planned with. `looking` reads replicas, `passing` is what a pass calls.
"""
