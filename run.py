"""One command for everything; standard library only.

    python run.py demo                       start the embedded WebUI and open its page
    python run.py demo --headless --out DIR  write the grids base.png, distilled.png, hybrid.png and demo.json
    python run.py train CONFIG.toml          train a few-step student of a checkpoint, or go on with it
    python run.py test                       lint, types, import rules, then every test on each stack
    python run.py test --coverage            the tests alone, and which lines of what users load none of them ran
    python run.py lint                       the first three of these alone
    python run.py bench --json FILE          print and write the benchmark
    python run.py python ARGS...             the environment's own Python

Environments are made under .envs/ from the pins in pyproject.toml, once for each set of pins, and reused.
DD_TORCH_INDEX takes torch from another package index (PyTorch's CPU index saves gigabytes on Linux), DD_ENVS keeps the
environments elsewhere, DD_CHROMIUM names the browser of the page tests.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.environments import ROOT, Refusal, Terminated, child, child_environ, environment, run, say, status
from tools.stages import Stages, run_in_turn, run_side_by_side, verdict

PYTHONS = ((3, 11), (3, 10))  # for which every pin has a wheel, the preferred one first
FLAVOURS = ("a1111", "forge")
READY = "Running on local URL:"
START_SECONDS = 300
# The tests of a stack run as three suites: those that ask a WebUI from outside, by a browser or by its API, and those
# inside of one or without.
BROWSER, API, INSIDE = ("tests/browser",), ("tests/e2e",), ("tests/embedded", "tests/unit")
HOST_TESTS = (*BROWSER, *API, "tests/embedded")
# The trainer's, which no host has, on a stack of their own.
TRAINING = ("tests/training",)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


def is_free(port: int) -> bool:
    with socket.socket() as s:
        if os.name != "nt":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(wanted: int | None, headless: bool) -> int:
    if wanted is not None:
        if not is_free(wanted):
            raise Refusal(f"port {wanted} is in use; give another one with --port.")
        return wanted
    if not headless:
        for port in range(7860, 7870):
            if is_free(port):
                return port
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def webui(python: Path, flavour: str, port: int, headless: bool) -> Generator[subprocess.Popen[str], None, None]:
    """Start the embedded WebUI, wait until it answers, and end it at the end, however that comes."""
    command = [str(python), "-m", "embedded", "--flavour", flavour, "--port", str(port)]
    command += ["--headless"] if headless else []
    printed: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "encoding": "utf-8",
        "errors": "replace",
    }
    ready, ended = threading.Event(), threading.Event()

    def echo(lines: Iterable[str]) -> None:
        for line in lines:
            print(line, end="", flush=True)
            if READY in line:
                ready.set()
        ended.set()
        ready.set()

    with child(command, child_environ(), **printed) as process:
        threading.Thread(target=echo, args=[process.stdout], daemon=True).start()
        if not ready.wait(START_SECONDS):
            raise Refusal(f"the embedded WebUI was not ready after {START_SECONDS} seconds; its log is above.")
        if ended.is_set():
            raise Refusal(
                f"the embedded WebUI ended with {status(process.wait())} before it was ready; its log is above."
            )
        yield process


def flavours_built() -> tuple[str, ...]:
    """Return the flavours that embedded offers, read without importing it (it needs an environment)."""
    tree = ast.parse((ROOT / "embedded" / "start.py").read_text(encoding="utf-8"))
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(t, ast.Name) and t.id == "FLAVOURS" for t in targets):
            return tuple(ast.literal_eval(node.value))  # type: ignore[union-attr]
    raise Refusal("embedded/start.py names no FLAVOURS; the checkout is damaged, clone it again.")


def check_flavour(flavour: str) -> None:
    built = flavours_built()
    if flavour not in built:
        raise Refusal(f"the embedded WebUI has no {flavour} flavour yet; it has {', '.join(built)}.")


def demo(args: argparse.Namespace, rest: list[str]) -> int:
    check_flavour(args.flavour)
    port = choose_port(args.port, args.headless)
    python = environment(args.flavour)
    url = f"http://127.0.0.1:{port}"
    with webui(python, args.flavour, port, args.headless) as server:
        if args.headless:
            out = args.out.resolve()
            command = [str(python), "-m", "embedded.demo", "--url", url, "--out", str(out), *rest]
            return run(command, child_environ())
        say(f"the page is {url}; press Ctrl-C to end")
        if not args.no_browser:
            webbrowser.open(url)
        return status(server.wait())


def find_chromium(python: Path) -> str:
    """Return the browser of the page tests: DD_CHROMIUM, the system's, or else one installed now."""
    if named := os.environ.get("DD_CHROMIUM"):
        if not Path(named).is_file():
            raise Refusal(f"DD_CHROMIUM names {named}, which is no file; name Chromium's executable.")
        return named
    if found := next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None):
        return found
    if sys.platform != "win32" and os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing the system's package chromium for the page tests")
        quiet = child_environ(DEBIAN_FRONTEND="noninteractive")
        fetched = run(["apt-get", "update", "-qq"], quiet) or run(["apt-get", "install", "-yqq", "chromium"], quiet)
        if not fetched and (found := shutil.which("chromium")):
            return found
    say("fetching Playwright's Chromium for the page tests")
    if not run([str(python), "-m", "playwright", "install", "chromium"], child_environ()):
        where = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
        return subprocess.check_output([str(python), "-c", where], text=True, env=child_environ()).strip()
    raise Refusal("the page tests need Chromium; install it, or set DD_CHROMIUM to its executable.")


def lint_stages(python: Path, training: Path) -> dict[str, list[str]]:
    tool = [str(python), "-m"]
    trainer = ["--project", str(ROOT / "extension_core" / "training" / "pyright.json")]
    importlinter = "from importlinter.cli import lint_imports_command as c; c()"
    return {
        "ruff": [*tool, "ruff", "check", "."],
        "ruff format": [*tool, "ruff", "format", "--check", "."],
        "pyright": [*tool, "pyright", "--pythonpath", str(python)],
        "pyright of the trainer": [*tool, "pyright", *trainer, "--pythonpath", str(training)],
        "import rules": [str(python), "-c", importlinter, "--no-logo"],
    }


def lint(args: argparse.Namespace, rest: list[str]) -> int:
    stages = lint_stages(environment("a1111", tools=True), environment("training", tools=True))
    return verdict(run_in_turn({name: (command, child_environ()) for name, command in stages.items()}))


def test(args: argparse.Namespace, rest: list[str]) -> int:
    """Lint, then pytest on each stack; --flavour, --slow, --coverage, or arguments for pytest, ask for tests alone."""
    everything = ["forge", "a1111"] if rest or args.slow else ["training", "forge", "a1111"]
    wanted = [args.flavour] if args.flavour else everything
    pythons = {flavour: environment(flavour, tools=True) for flavour in wanted}
    chromium = "" if wanted == ["training"] else find_chromium(pythons[wanted[-1]])
    stages: Stages = {}
    if not (args.flavour or args.slow or args.coverage or rest):
        stages = {
            name: (cmd, child_environ()) for name, cmd in lint_stages(pythons["a1111"], pythons["training"]).items()
        }
    # The longest first, and the stacks come to the page tests at different times. Three at once keep two cores busy, as
    # a suite from outside waits nearly half of its time.
    order = [
        ("a1111", INSIDE),
        ("forge", BROWSER),
        ("a1111", API),
        ("forge", API),
        ("a1111", BROWSER),
        ("forge", INSIDE),
        ("training", TRAINING),
    ]
    if rest:
        order = [(flavour, rest) for flavour in wanted]
    marked = "slow" if args.slow else "" if rest else "not slow"
    tests = {
        f"{' '.join(asked)} on the {flavour} stack": suite_stage(flavour, pythons[flavour], asked, marked, chromium)
        for flavour, asked in order
        if flavour in wanted
    }
    if args.coverage:
        return counted(pythons[wanted[-1]], stages | tests)
    return verdict(run_side_by_side(stages | tests))


def counted(python: Path, stages: Stages) -> int:
    """The same with the lines counted that run, in every process; whatever comes of that, the tests' status counts."""
    tool = [str(python), "-m", "coverage"]
    with tempfile.TemporaryDirectory() as folder:
        counting = {"COVERAGE_FILE": str(Path(folder) / "lines")}
        counting_stages: Stages = {
            name: ([command[0], "-m", "coverage", "run", *command[1:]], {**environ, **counting})
            for name, (command, environ) in stages.items()
        }
        code = verdict(run_side_by_side(counting_stages))
        environ = child_environ(**counting)
        if not run([*tool, "combine", "--quiet"], environ):
            run([*tool, "report"], environ)
            run([*tool, "html", "--quiet", "--directory", "outputs/coverage"], environ)
            say("line by line: outputs/coverage/index.html")
    return code


def suite_stage(
    flavour: str, python: Path, asked: Sequence[str], marked: str, chromium: str
) -> tuple[list[str], dict[str, str]]:
    command = [str(python), "-m", "pytest", "-q", "--durations=10", *asked]
    if flavour in FLAVOURS and flavour not in flavours_built():  # what needs no such host still runs on its stack
        command += [*(f"--ignore={folder}" for folder in HOST_TESTS)]
    if wanted := " and ".join(filter(None, (marked, "not a1111 and not once" if flavour == "forge" else ""))):
        command += ["-m", wanted]
    # One thread each: image bytes depend on the number, and two suites share two cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return command, child_environ(DD_FLAVOUR=flavour, DD_CHROMIUM=chromium, **threads)


def bench(args: argparse.Namespace, rest: list[str]) -> int:
    """One flavour after the other, each in its stack, also after one has failed; what is measured is kept in any case.

    The JSON of both is one object, A1111's surroundings count.
    """
    wanted = [args.flavour] if args.flavour else ["a1111", "forge"]
    codes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        measured = {flavour: Path(folder) / f"{flavour}.json" for flavour in wanted}
        try:
            for flavour, path in measured.items():
                say(f"benchmark on the {flavour} flavour")
                command = [str(environment(flavour, tools=True)), "-m", "benches", "--flavour", flavour]
                codes[flavour] = run([*command, "--json", str(path), *rest], child_environ())
        finally:
            if args.json and (found := [path for path in measured.values() if path.is_file()]):
                figures = merged([json.loads(path.read_text(encoding="utf-8")) for path in found])
                args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return verdict(codes)


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One object; the first counts where several tell the same, and what failed in any of them is told."""
    figures: dict[str, Any] = {}
    for part in parts:
        figures = {**part, **figures}
    return {**figures, "failed_parts": [failed for part in parts for failed in part["failed_parts"]]}


def own_python(rest: list[str]) -> int:
    """Run the Python of A1111's stack, or of the one that DD_FLAVOUR names."""
    return run([str(environment(os.environ.get("DD_FLAVOUR", "a1111"), tools=True)), *rest], child_environ())


def train(rest: list[str]) -> int:
    """Run the trainer on its own stack; unlike everything else it may ask the net, for a tokenizer or a data set."""
    online = {name: value for name, value in child_environ().items() if name in os.environ or "OFFLINE" not in name}
    return run([str(environment("training")), "-m", "extension_core.training", *rest], online)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    p = commands.add_parser("demo", allow_abbrev=False, help="start the embedded WebUI and open its page")
    p.add_argument("--headless", action="store_true", help="open no page: write images and measures to --out and end")
    p.add_argument("--out", type=Path, default=Path("outputs/demo"), help="folder of --headless")
    p.add_argument("--flavour", choices=FLAVOURS, default="a1111", help="the host to be like (default: a1111)")
    p.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    p.add_argument("--no-browser", action="store_true", help="do not open the page by itself")
    p.set_defaults(run=demo)
    p = commands.add_parser("test", allow_abbrev=False, help="lint and every test; more arguments go to pytest alone")
    p.add_argument("--flavour", choices=(*FLAVOURS, "training"), help="run the tests of this stack alone")
    p.add_argument("--slow", action="store_true", help="run the tests alone that are left out of every run")
    p.add_argument("--coverage", action="store_true", help="tell which lines no test has run; takes longer")
    p.set_defaults(run=test)
    commands.add_parser("lint", help="ruff, pyright and the import rules").set_defaults(run=lint)
    p = commands.add_parser("bench", allow_abbrev=False, help="print the benchmark")
    p.add_argument("--json", type=Path, help="write it to this file too")
    p.add_argument("--flavour", choices=FLAVOURS, help="measure this flavour alone")
    p.set_defaults(run=bench)
    commands.add_parser("train", help="train a few-step student; every argument is the trainer's")
    commands.add_parser("python", help="the environment's own Python; every argument is Python's")
    return top


def other_python() -> list[str] | None:
    """Return a command for a Python that the pins are for, where this one is another."""
    for wanted in (".".join(map(str, version)) for version in PYTHONS):
        candidates = [["py", f"-{wanted}"], ["python"]] if os.name == "nt" else [[f"python{wanted}"], ["python3"]]
        for command in candidates:
            if shutil.which(command[0]) is None:
                continue
            test = [*command, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
            if subprocess.run(test, capture_output=True, text=True, check=False).stdout.strip() == wanted:
                return command
    return None


def main(argv: list[str]) -> int:
    if sys.version_info[:2] not in PYTHONS:
        found = other_python()
        if found is None:
            raise Refusal(
                f"the pinned versions need Python 3.11 or 3.10 and this is {platform.python_version()}; install Python "
                "3.11 beside it (the extension itself runs on your host's own Python)."
            )
        return run([*found, str(ROOT / "run.py"), *argv], dict(os.environ))
    if argv[:1] == ["python"]:
        return own_python(argv[1:])
    if argv[:1] == ["train"]:
        return train(argv[1:])
    args, rest = parser().parse_known_args(argv)
    if rest and args.run is lint:
        raise Refusal(f"lint takes no arguments, found {' '.join(rest)}.")
    return args.run(args, rest[1:] if rest[:1] == ["--"] else rest)


def leave(*_: object) -> None:
    raise Terminated  # so that a terminated run.py ends its children, too


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    try:
        sys.exit(main(sys.argv[1:]))
    except Refusal as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
