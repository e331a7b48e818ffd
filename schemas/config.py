"""What a Config manifest may say: the same as a Secret, without the secrecy.

Source: Compose Specification, configs.
"""

from schemas.secret import ContentSpec


class ConfigSpec(ContentSpec):
    """Content that containers read as a file."""
