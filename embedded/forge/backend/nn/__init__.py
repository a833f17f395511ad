"""Networks, with the places where patches act."""
