"""Certificates for tcp://: `ca.pem`, `cert.pem` and `key.pem` in one directory. Both sides must show theirs."""

from __future__ import annotations

import os
import socket
import ssl

DIRECTORY = "/etc/trimtab/tls/client"


def wrapped(channel: socket.socket, name: str, directory: str) -> socket.socket:
    """Raises OSError where the files are missing or the other side is not who it should be."""
    place = directory or DIRECTORY
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=os.path.join(place, "ca.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(os.path.join(place, "cert.pem"), os.path.join(place, "key.pem"))
    return context.wrap_socket(channel, server_hostname=name)
