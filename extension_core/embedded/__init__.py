"""A small WebUI of this project's own that speaks the hosts' extension interface.

It exists so that the extension can be tried, tested and demonstrated without installing a host: the extension's
adapters are written against the real hosts and run here unchanged. Nothing in this package imports the rest of
`extension_core`, so that it stays an independent witness. `python -m extension_core.embedded --flavour a1111 --port
7861` starts it.
"""
