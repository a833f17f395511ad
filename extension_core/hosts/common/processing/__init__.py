"""What is read from, and set on, the host's own processing object of one request, and never on a class or a module."""
