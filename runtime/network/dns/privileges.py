def drop_privileges() -> None:
    pass
