"""The environments that run.py makes, and the children it starts in them; standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ENVS = Path(os.environ.get("DD_ENVS") or ROOT / ".envs")


class Stack(NamedTuple):
    """What goes into an environment beside the group of its own name.

    Args:
        imports: what it has to be able to import.
        bare: groups that are installed without their requirements.
        tools: groups for tests and linters.
    """

    imports: str
    bare: tuple[str, ...]
    tools: tuple[str, ...]


_HOST = Stack("torch, gradio, transformers", ("bare",), ("test", "host-test", "lint"))
STACKS = {"a1111": _HOST, "forge": _HOST, "training": Stack("torch, diffusers, peft, accelerate", (), ("test",))}


class Refusal(Exception):
    """A request that cannot be honoured; its text is the one sentence that the user reads."""


class Terminated(KeyboardInterrupt):
    """This process alone was told to end; its children were not."""


def say(text: str) -> None:
    print(f"run.py: {text}", flush=True)


def project() -> dict[str, Any]:
    """Return what stands in pyproject.toml."""
    if sys.version_info >= (3, 11):
        import tomllib as toml
    else:
        from pip._vendor import tomli as toml
    return toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(version: tuple[int, ...] = sys.version_info[:2]) -> dict[str, list[str]]:
    """Return the dependency groups by name, as a Python of this version has them.

    The pins of the group `python310` take the places of those of the same packages on Python 3.10.
    """
    groups = project()["dependency-groups"]
    older = {pin.split("==")[0]: pin for pin in groups.pop("python310", ())}
    if version >= (3, 11):
        return groups
    return {group: [older.get(pin.split("==")[0], pin) for pin in pinned] for group, pinned in groups.items()}


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def python_of(env: Path) -> Path:
    return env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def child_environ(**more: str) -> dict[str, str]:
    """Return this process's environment less what would leak another Python in, offline but for this machine."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    local = ",".join(filter(None, (env.get("NO_PROXY") or env.get("no_proxy"), "localhost,127.0.0.1")))
    env.update(PYTHONUNBUFFERED="1", PYTHONUTF8="1", NO_PROXY=local, no_proxy=local, MPLBACKEND="Agg")
    env.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False", **more)
    return env


@contextlib.contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold a lock on `path` that ends with this process, so that two runs never build one environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another run is building this environment, waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pip(env: Path, *arguments: str) -> None:
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    environ = child_environ(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0", PIP_NO_INPUT="1")
    command = [str(python_of(env)), "-m", "pip", "install", *quiet, "--prefer-binary", *arguments]
    if code := run(command, environ):
        raise Refusal(f"pip ended with {code} (its own words are above); check network and disk, then run this again.")


def build_stack(env: Path, stack: list[str], bare: list[str], imports: str) -> None:
    say(f"building {env} from {len(stack) + len(bare)} pinned packages; this takes minutes, once")
    if env.exists():
        shutil.rmtree(env)  # what a killed run left; pip's own cache keeps the downloads
    if run([sys.executable, "-m", "venv", str(env)], child_environ()):
        raise Refusal(
            f"{sys.executable} could not make {env}; on Debian or Ubuntu install the package "
            f"python3.{sys.version_info[1]}-venv."
        )
    index = os.environ.get("DD_TORCH_INDEX")
    if sys.platform == "linux" and not index:
        say("torch may bring NVIDIA's packages (gigabytes); DD_TORCH_INDEX can name PyTorch's CPU index instead")
    torch = [pin for pin in stack if pin.startswith("torch==")]
    pip(env, "--no-deps", *(["--index-url", index] if index else []), *torch)
    pip(env, *stack)
    if bare:
        pip(env, "--no-deps", *bare)
    if run([str(python_of(env)), "-c", f"import {imports}"], child_environ()):
        raise Refusal(f"the new environment {env} cannot import {imports}; delete it and try again.")


def environment(name: str, tools: bool = False) -> Path:
    """Return the Python of a stack's environment, built first where it is missing; `tools` adds tests and linters.

    `complete.json` is written last and removed before any change, so what a killed run left is never taken for whole.
    """
    groups = pins()
    kind = STACKS[name]
    stack = groups[name]
    bare, extra = ([pin for group in wanted for pin in groups[group]] for wanted in (kind.bare, kind.tools))
    key = digest(stack, bare, os.environ.get("DD_TORCH_INDEX"), platform.machine(), sys.version_info[:3])
    env = ENVS / f"{name}-{key}"
    marker = env / "complete.json"
    with locked(ENVS / f"{env.name}.lock"):
        done = json.loads(marker.read_text()) if marker.is_file() else None
        if done is None:
            build_stack(env, stack, bare, kind.imports)
            done = {"tools": None}
            marker.write_text(json.dumps(done))
        if tools and done["tools"] != digest(extra):
            say(f"adding {len(extra)} test tools to {env}")
            marker.unlink()
            constraints = env / "pins.txt"
            constraints.write_text("\n".join(stack) + "\n")
            pip(env, "-c", str(constraints), *extra)
            marker.write_text(json.dumps({"tools": digest(extra)}))
    return python_of(env)


def stop(process: subprocess.Popen[Any], interrupt: bool = False, trace: bool = False) -> None:
    """End a child of ours, ever firmer; with `interrupt` by Ctrl-C first, so that pytest can end its own children.

    Args:
        trace: one that takes no notice of Ctrl-C shows its stacks, where its faulthandler is on (pytest's is).
    """
    requests = [(process.terminate, 10), (process.kill, 10)]
    if trace and os.name != "nt":
        requests.insert(0, (lambda: process.send_signal(signal.SIGABRT), 10))
    if interrupt and os.name != "nt":  # Windows knows no Ctrl-C for one process
        requests.insert(0, (lambda: process.send_signal(signal.SIGINT), 30 if trace else 20))
    for ask, seconds in requests:
        if process.poll() is not None:
            return
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def status(code: int) -> int:
    return code if code >= 0 else 128 - code  # a child ended by signal 15 counts as 143, as in a shell


@contextlib.contextmanager
def _signals_held() -> Generator[None, None, None]:
    """A signal that comes meanwhile is delivered at the end: while a child is started it would leave it behind."""
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda sent, _frame: held.append(sent)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


@contextlib.contextmanager
def child(
    command: Sequence[str], environ: dict[str, str], interrupt: bool = False, **more: Any
) -> Generator[Any, None, None]:
    """Start a child in the project's folder; it has ended when the block has, however that ends.

    Args:
        interrupt: it ends its own affairs at Ctrl-C, and is given the time.
    """
    with contextlib.ExitStack() as stack:
        with _signals_held():
            process = subprocess.Popen(list(command), cwd=ROOT, env=environ, **more)
            stack.callback(stop, process, interrupt=interrupt)
        try:
            yield process
        except Terminated:
            raise
        except KeyboardInterrupt:  # the terminal sent the child Ctrl-C as well; a second one would cut it short
            if interrupt:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
            raise


def run(command: Sequence[str], environ: dict[str, str]) -> int:
    """Run a child to its end in the project's folder and return its exit status."""
    with child(command, environ, interrupt=True) as process:
        return status(process.wait())
