"""Our nftables tables: what packets of our links may do. One atomic transaction per change, no rule per port."""
