"""How a value that SOPS has encrypted begins. Light: asked of every content; decrypting is `sops`'s."""

MARK = "ENC[AES256_GCM,data:"


def is_sealed(content: bytes) -> bool:
    """Whether it holds a value of SOPS's form."""
    return MARK.encode() in content
