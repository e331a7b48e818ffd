"""Where desired objects come from. A source yields texts with names; what they say is read by `schemas.load`."""
