"""A model with what is to be changed about it, apart from each other until it is loaded."""
