"""Whether an image is one that somebody vouched for: by a signature in its registry, or by a code in a list.

Asked before any layer is fetched. Keys are given as bytes; files are the reconciler's business.
"""
