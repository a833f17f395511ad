"""`python -m embedded --flavour a1111 --port 7861`: starts the embedded WebUI. `--help` lists the flavour's options."""

from __future__ import annotations

import argparse

from embedded.start import FLAVOURS, prepare


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--flavour", choices=FLAVOURS, default="a1111")
    chosen, rest = parser.parse_known_args()
    prepare(chosen.flavour, rest).main()


if __name__ == "__main__":
    main()
