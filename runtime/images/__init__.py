"""Blobs, layers, images and registries: content by digest, unpacked once. The reconciler begins at `ensure`."""
