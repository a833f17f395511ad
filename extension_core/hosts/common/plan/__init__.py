"""How a request is settled into a plan, without touching the host."""
