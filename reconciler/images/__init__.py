"""What an Image does beside being here: where it is pushed, what of a registry it follows, whose signature it bears."""
