"""The embedded WebUI: each trap of the real hosts is there, and the adapter's names exist."""
