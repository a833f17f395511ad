"""Command line options: those of the host that its extension interface depends on, and a few of the embedded WebUI's
own.
"""

from __future__ import annotations

import argparse

from modules import flavour, flavour_arguments

parser = argparse.ArgumentParser(prog="python -m embedded", description=f"The embedded WebUI, flavour {flavour.NAME}.")

_own = parser.add_argument_group("embedded")
_own.add_argument("--extensions-dir", "--extensions", type=str, default=None, help="folder with further extensions")
_own.add_argument("--default-config", type=str, default=None, help="ldm yaml of checkpoints that have none beside")
_own.add_argument("--without-self", action="store_true", help="do not load this checkout as an extension")
_own.add_argument("--listen-timeout", type=float, default=None, help="stop the server after this many seconds")
_own.add_argument("--threads", type=int, default=None, help="torch CPU threads (image bytes depend on it)")

_paths = parser.add_argument_group("folders")
_paths.add_argument("--data-dir", type=str, default=None, help="folder for settings, logs, models and pictures")
_paths.add_argument("--ckpt-dir", type=str, default=None, help="folder with checkpoints; by default the trained pair")
_paths.add_argument("--ckpt", type=str, default=None, help="one checkpoint file, listed and loaded first")
_paths.add_argument("--lora-dir", type=str, default=None)
_paths.add_argument("--vae-dir", type=str, default=None)
_paths.add_argument("--embeddings-dir", type=str, default=None)
_paths.add_argument("--ui-settings-file", type=str, default=None)
_paths.add_argument("--styles-file", type=str, action="append", default=[])

_paths.add_argument("--filenames-max-length", type=int, default=128, help="of each part of a picture's file name")
_paths.add_argument("--unix-filenames-sanitization", action="store_true")
_paths.add_argument("--ui-config-file", type=str, default=None)

_server = parser.add_argument_group("server")
_server.add_argument("--port", type=int, default=None)
_server.add_argument("--listen", action="store_true")
_server.add_argument("--server-name", type=str, default=None)
_server.add_argument("--subpath", type=str, default=None)
_server.add_argument("--api", action="store_true", default=True)
_server.add_argument("--nowebui", action="store_true", help="API alone, without the page")
_server.add_argument("--api-auth", type=str, default=None)
_server.add_argument("--gradio-auth", type=str, default=None)
_server.add_argument("--cors-allow-origins", type=str, default=None)
_server.add_argument("--cors-allow-origins-regex", type=str, default=None)
_server.add_argument("--api-log", action="store_true")
_server.add_argument("--api-server-stop", action="store_true")
_server.add_argument("--autolaunch", action="store_true")
_server.add_argument("--no-gradio-queue", action="store_true")
_server.add_argument("--theme", type=str, default=None)
_server.add_argument("--share", action="store_true")
_server.add_argument("--timeout-keep-alive", type=int, default=30)

_run = parser.add_argument_group("running")
_run.add_argument("--no-half", action="store_true")
_run.add_argument("--no-half-vae", action="store_true")
_run.add_argument("--precision", choices=["full", "half", "autocast"], default="autocast")
_run.add_argument("--upcast-sampling", action="store_true")
_run.add_argument("--medvram", action="store_true")
_run.add_argument("--medvram-sdxl", action="store_true")
_run.add_argument("--lowvram", action="store_true")
_run.add_argument("--use-cpu", nargs="+", default=[], type=str.lower)
_run.add_argument("--opt-channelslast", action="store_true")
_run.add_argument("--disable-nan-check", action="store_true")
_run.add_argument("--skip-load-model-at-start", action="store_true")
_run.add_argument("--skip-version-check", action="store_true")
_run.add_argument("--no-prompt-history", action="store_true")
_run.add_argument("--freeze-settings", action="store_true")
_run.add_argument("--hide-ui-dir-config", action="store_true")
_run.add_argument("--enable-console-prompts", action="store_true")
_run.add_argument("--disable-all-extensions", action="store_true")
_run.add_argument("--disable-extra-extensions", action="store_true")

flavour_arguments.add_arguments(parser)
