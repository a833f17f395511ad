"""One training as a user asks for it: its configuration, its folder, its stages, what is heard and told meanwhile."""
