"""An OCI distribution-spec 1.1 client: images from registries into the blob store.

`pull` brings an image, `resolve` asks what a reference means today. Everything a registry says is hostile until its
digest was verified. Knows nothing of unpacking, of records of images or of manifests of ours. Pushing is a later issue
and gets a module of its own beside `pull`, on the same `client`.
"""
