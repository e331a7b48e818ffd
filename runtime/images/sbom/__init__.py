"""Which packages an image holds: read from what their managers and languages leave in its files; written as CycloneDX.

Everything in an image is a stranger's: read by descriptor, within its root, up to limits. Runs nothing of it.
"""
