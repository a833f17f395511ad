"""A small WebUI of this project's own that speaks the hosts' extension interface, and what is shown on it.

It exists so that the extension can be tried, tested and demonstrated without installing a host: the extension's
adapters are written against the real hosts and run here unchanged. The WebUI imports nothing of `extension_core`, so
that it stays an independent witness. `python -m embedded --flavour a1111 --port 7861` starts it.
"""
