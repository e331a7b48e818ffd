"""One file per row of the table (or two that share their work): `measure(ground, peers, rounds) -> [Row]`."""
