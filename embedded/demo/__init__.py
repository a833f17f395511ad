"""The demo: base, distilled and hybrid side by side, asked of a running WebUI over its own HTTP API."""
