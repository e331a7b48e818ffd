"""From a container's manifest and its image to an OCI runtime-spec configuration: the launcher's inner contract.

`config` puts together what `process`, `mounts` and `linux` say; `user` reads the image's own accounts. Nothing here
starts anything.
"""
