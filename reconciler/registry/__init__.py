"""A registry of this engine: distribution-spec 1.1 over its blob store, or a mirror of another one."""
