"""Every argument once: what it is, how it is written, and what is made of it for page, API and plot. Pure."""
