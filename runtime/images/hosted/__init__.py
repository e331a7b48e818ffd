"""What the registry of this engine holds: repositories, their tags, manifests and blobs."""
