"""The accordion on the host's page: its components, what they follow and what they show."""
