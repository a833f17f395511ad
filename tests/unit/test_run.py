"""run.py run for real in a small project of its own: real environments, real pip, wheels and servers made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import run
from tests.unit.wheels import make_wheel
from tests.waiting import PATIENCE, until
from tools import environments, stages

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.once  # of the standard library alone, and in environments of its own
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither these signals nor scripts of a shell")

TRAINING = ("torch==2.13.0", "diffusers==1.0", "peft==1.0", "accelerate==1.0")
TRAINER = """
import os, sys
print(*sys.argv[1:], os.environ.get("HF_HUB_OFFLINE"))
sys.exit(6)
"""
STACK = ("torch==2.13.0", "gradio==3.41.2", "transformers==4.30.2")
SERVER = """
import os, signal, sys
from pathlib import Path
here = Path(__file__).resolve().parent
if (here / "broken").exists():
    sys.exit(5)
(here / "pid").write_text(str(os.getpid()))
(here / "argv").write_text(" ".join(sys.argv[1:]))
print("Running on local URL:  http://127.0.0.1:" + sys.argv[sys.argv.index("--port") + 1])
signal.pause()
"""
BENCHES = """
import json, sys
from pathlib import Path
flavour, target = sys.argv[sys.argv.index("--flavour") + 1], Path(sys.argv[sys.argv.index("--json") + 1])
figures = {f"{flavour}_figure": 1.0, "quick": "--quick" in sys.argv, "failed_parts": []}
for failing in Path(__file__).parent.glob(f"{flavour}_*"):
    figures["failed_parts"].append(failing.name)
if not (Path(__file__).parent / f"{flavour}_all").exists():
    target.write_text(json.dumps(figures))
sys.exit(bool(figures["failed_parts"]))
"""
CLIENT = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
(out / "demo.json").write_text(" ".join(sys.argv[1:]))
sys.exit(3 if "fail" in out.name else 0)
"""


class Project:
    """A checkout with this project's run.py, and packages small enough to install in a second."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.envs = folder / "envs"
        wheels = folder / "wheels"
        for pin in (*STACK, *TRAINING[1:], "ddbare==1.0", "ddtool==1.0"):
            name, version = pin.split("==")
            make_wheel(wheels, name, version, ("ddabsent",) if name == "ddbare" else ())
        shutil.copytree(ROOT / "tools", self.root / "tools")
        shutil.copy(ROOT / "run.py", self.root)
        embedded = self.root / "embedded"
        demo = self.root / "embedded" / "demo"
        benches = self.root / "benches"
        trainer = self.root / "extension_core" / "training"
        for package, main in ((embedded, SERVER), (demo, CLIENT), (benches, BENCHES), (trainer, TRAINER)):
            package.mkdir(parents=True)
            (package / "__main__.py").write_text(main)
        (embedded / "start.py").write_text('FLAVOURS: tuple[str, ...] = ("a1111",)\n')
        for package in (embedded, demo, benches, trainer.parent, trainer):
            (package / "__init__.py").touch()
        self.pin(test=["ddtool==1.0"])
        self.environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "DD_ENVS": str(self.envs)}
        for name in ("DD_TORCH_INDEX", "DD_FLAVOUR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            self.environ.pop(name, None)

    def pin(self, **groups: list[str]) -> None:
        pins = {
            "a1111": list(STACK),
            "forge": list(STACK[:2]),
            "training": list(TRAINING),
            "bare": ["ddbare==1.0"],
            "test": [],
            "host-test": [],
            "lint": [],
        } | groups
        lines = "".join(f"{name} = {value!r}\n" for name, value in pins.items())
        (self.root / "pyproject.toml").write_text(f"[dependency-groups]\n{lines}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """As from a terminal: a shell has what it starts in the background, this suite perhaps, ignore Ctrl-C."""
        command = [sys.executable, str(self.root / "run.py"), *arguments]
        options: Any = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name != "nt" else {}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root.parent, env=self.environ, stdout=pipe, stderr=pipe, text=True, **options
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def environments(self) -> list[Path]:
        return sorted(path.parent for path in self.envs.glob("*/complete.json"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


def wait_for(condition: Callable[[], bool]) -> None:
    until(condition, "a child's sign")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc/self").exists() else True


@posix
def test_an_environment_is_built_once_killed_or_not_and_statuses_come_through(project: Project) -> None:
    killed = project.start("python", "-c", "print('never')")
    wait_for(lambda: any(project.envs.glob("a1111-*/pyvenv.cfg")))
    killed.kill()
    assert "never" not in killed.communicate()[0]
    assert project.environments() == []
    (half,) = (path for path in project.envs.glob("a1111-*") if path.is_dir())
    (half / "left-over").touch()

    status, out, _ = project.run("python", "-c", "import gradio, ddtool, ddbare; raise SystemExit(7)")
    assert status == 7
    assert "building" in out
    assert project.environments() == [half]
    assert not (half / "left-over").exists()

    status, out, _ = project.run("python", "-c", "print('again')")
    assert (status, out) == (0, "again\n")

    project.pin(a1111=[*STACK, "ddtool==1.0"], test=["ddtool==1.0"])
    assert project.run("python", "-c", "")[0] == 0
    assert len(project.environments()) == 2
    project.pin(test=["ddtool==1.0"])


def test_the_trainer_runs_on_its_own_stack(project: Project) -> None:
    """Without the hosts' packages, and with the net that a user's data may need."""
    before = set(project.environments())
    status, out, _ = project.run("train", "mine.toml", "--help")
    assert (status, out.splitlines()[-1]) == (6, "mine.toml --help None")
    (made,) = set(project.environments()) - before
    assert made.name.startswith("training-")
    assert not list(made.rglob("ddbare*"))
    project.environ["HF_HUB_OFFLINE"] = "1"
    assert project.run("train")[1].splitlines()[-1] == "1"
    del project.environ["HF_HUB_OFFLINE"]


def test_a_package_that_cannot_be_had_is_one_sentence_and_leaves_nothing_whole(project: Project) -> None:
    project.pin(a1111=["torch==2.13.0", "ddabsent==1"])
    before = project.environments()
    status, _, err = project.run("python", "-c", "")
    project.pin(test=["ddtool==1.0"])
    assert status == 2
    assert err.splitlines()[-1].startswith("run.py: pip ended with 1")
    assert project.environments() == before


@posix
def test_headless_demo_runs_server_and_client_and_ends_the_server(project: Project, tmp_path: Path) -> None:
    status, out, err = project.run("demo", "--headless", "--out", str(tmp_path / "good"))
    assert (status, err) == (0, "")
    assert "Running on local URL:" in out
    embedded = project.root / "embedded"
    assert "--flavour a1111" in (embedded / "argv").read_text()
    assert "--headless" in (embedded / "argv").read_text()
    assert "--url http://127.0.0.1:" in (tmp_path / "good" / "demo.json").read_text()
    assert not is_alive(int((embedded / "pid").read_text()))
    assert project.run("demo", "--headless", "--out", str(tmp_path / "fail"))[0] == 3


def test_a_server_that_ends_early_is_one_sentence(project: Project, tmp_path: Path) -> None:
    broken = project.root / "embedded" / "broken"
    broken.touch()
    status, _, err = project.run("demo", "--headless", "--out", str(tmp_path))
    broken.unlink()
    assert status == 2
    assert err == "run.py: the embedded WebUI ended with 5 before it was ready; its log is above.\n"


@posix
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_page_and_its_server(project: Project, sent: signal.Signals) -> None:
    pid = project.root / "embedded" / "pid"
    pid.unlink(missing_ok=True)
    process = project.start("demo", "--no-browser")
    wait_for(lambda: pid.is_file() and pid.read_text() != "")
    process.send_signal(sent)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "")
    assert "Traceback" not in out
    assert not is_alive(int(pid.read_text()))


@posix
def test_a_signal_while_a_child_is_started_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started, start = [], subprocess.Popen

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        started.append(start(*args, **kwargs))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    monkeypatch.setattr(environments.subprocess, "Popen", interrupted)
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    try:
        with pytest.raises(KeyboardInterrupt), environments.child(command, dict(os.environ)):
            pytest.fail("the signal was lost")
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[0].poll() is not None


@posix
def test_a_terminated_run_lets_its_child_end_its_own_affairs(project: Project, tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background ignores it
        "here = pathlib.Path(sys.argv[1])\n"
        "try:\n    (here / 'began').touch(); signal.pause()\n"
        "finally:\n    (here / 'ended').touch()\n"
    )
    process = project.start("python", "-c", code, str(tmp_path))
    wait_for((tmp_path / "began").exists)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("failing", "kept", "failed"),
    [
        ((), {"a1111_figure": 1.0, "forge_figure": 1.0}, []),
        (("a1111_part",), {"a1111_figure": 1.0, "forge_figure": 1.0}, ["a1111_part"]),
        (("a1111_all", "forge_part"), {"forge_figure": 1.0}, ["forge_part"]),
    ],
)
def test_a_bench_keeps_what_it_has(
    project: Project, tmp_path: Path, failing: tuple[str, ...], kept: dict[str, float], failed: list[str]
) -> None:
    project.pin(test=["ddtool==1.0"], forge=[*STACK, "ddtool==1.0"])
    marks = [project.root / "benches" / name for name in failing]
    for mark in marks:
        mark.touch()
    status, out, _ = project.run("bench", "--json", str(tmp_path / "b.json"), "--quick")
    for mark in marks:
        mark.unlink()
    project.pin(test=["ddtool==1.0"])
    assert status == (1 if failing else 0)
    assert json.loads((tmp_path / "b.json").read_text()) == {**kept, "quick": True, "failed_parts": failed}
    assert ("failed: " in out) == bool(failing)


def test_a_bench_keeps_what_it_has_where_a_stack_cannot_be_built(project: Project, tmp_path: Path) -> None:
    project.pin(test=["ddtool==1.0"], forge=["torch==2.13.0", "ddabsent==1"])
    status, _, err = project.run("bench", "--json", str(tmp_path / "b.json"))
    project.pin(test=["ddtool==1.0"])
    assert (status, err.splitlines()[-1][:20]) == (2, "run.py: pip ended wi")
    assert json.loads((tmp_path / "b.json").read_text())["a1111_figure"] == 1.0


def test_requests_that_cannot_be_honoured_are_one_sentence(project: Project) -> None:
    status, _, err = project.run("demo", "--flavour", "forge")
    assert (status, err) == (2, "run.py: the embedded WebUI has no forge flavour yet; it has a1111.\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = project.run("demo", "--port", str(port))
        assert (status, err) == (2, f"run.py: port {port} is in use; give another one with --port.\n")
    assert project.run("lint", "surplus")[0] == 2


def test_a_port_is_free_when_chosen() -> None:
    port = run.choose_port(None, headless=True)
    assert run.is_free(port)
    assert run.choose_port(port, headless=False) == port


@posix
def test_another_python_hands_over_to_one_that_fits_or_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "PYTHONS", ((3, 98), (3, 99)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(environments.Refusal, match=r"need Python 3\.11 or 3\.10 and this is 3\."):
        run.main(["demo"])

    fake = tmp_path / "python3.99"
    fake.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 3.99 && exit\necho "$@" > "$(dirname "$0")/asked"\nexit 9\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert run.main(["test", "-k", "x"]) == 9
    assert (tmp_path / "asked").read_text().split() == [str(ROOT / "run.py"), "test", "-k", "x"]


def test_suites_run_side_by_side_and_each_is_shown_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each of two waits for the other to have begun, so in turn neither would end; a third waits for one's end."""
    code = (
        "import pathlib, sys, time\n"
        "mine, other, status = sys.argv[1:]\n"
        "print(mine, 'begins'); pathlib.Path(mine).touch()\n"
        "while not pathlib.Path(other).exists(): time.sleep(0.01)\n"
        "pathlib.Path(mine + ' ended').touch(); print(mine, 'ends'); sys.exit(int(status))\n"
    )
    third = "import pathlib, sys; sys.exit(not any(pathlib.Path(x + ' ended').exists() for x in sys.argv[1:]))"
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    environ = dict(os.environ)
    suites = {
        "first": ([sys.executable, "-c", code, a, b, "3"], environ),
        "second": ([sys.executable, "-c", code, b, a, "0"], environ),
        "third": ([sys.executable, "-c", third, a, b], environ),
    }
    codes = stages.run_side_by_side(suites, at_once=2)
    assert codes == {"first": 3, "second": 0, "third": 0}
    assert stages.verdict(codes) == 3
    out = capfd.readouterr().out
    parts = (f"{a} begins", f"{a} ends", "second", f"{b} begins", f"{b} ends", "third", "failed: first")
    places = [out.index(part) for part in parts]
    assert places == sorted(places)


@posix
def test_suites_that_are_interrupted_say_how_far_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "try:\n    pathlib.Path(sys.argv[1]).touch(); signal.pause()\n"
        "except KeyboardInterrupt:\n    print('interrupted', sys.argv[1])\n"
    )
    begun = [tmp_path / "a", tmp_path / "b"]
    suites = {path.name: ([sys.executable, "-c", code, str(path)], dict(os.environ)) for path in begun}

    def interrupt(_seconds: float) -> None:
        if all(path.exists() for path in begun):
            raise environments.Terminated

    monkeypatch.setattr(stages, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    with pytest.raises(environments.Terminated):
        stages.run_side_by_side(suites)
    out = capfd.readouterr().out
    assert all(f"interrupted {path}" in out for path in begun)


@posix
def test_a_suite_that_hangs_says_where_and_the_others_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hears Ctrl-C, as pytest does; one hears nothing and shows its stacks. Time goes by when both hang."""
    hangs = (
        "import faulthandler, pathlib, signal, sys\n"
        "faulthandler.enable()\n"
        "def stands_here():\n"
        "    pathlib.Path(sys.argv[1]).touch()\n"
        "    while True: signal.pause()\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[2:] else signal.default_int_handler)\n"
        "stands_here()\n"
    )
    begun, environ = [tmp_path / "a", tmp_path / "b"], dict(os.environ)
    suites = {
        "hangs": ([sys.executable, "-c", hangs, str(begun[0])], environ),
        "hears nothing": ([sys.executable, "-c", hangs, str(begun[1]), "deaf"], environ),
        "good": ([sys.executable, "-c", "print('good')"], environ),
    }
    late = SimpleNamespace(
        sleep=time.sleep, monotonic=lambda: 0.0 if not all(path.exists() for path in begun) else 1e9 + time.monotonic()
    )
    monkeypatch.setattr(stages, "time", late)
    codes = stages.run_side_by_side(suites, at_once=2)
    assert codes == {"hangs": 124, "hears nothing": 124, "good": 0}
    assert stages.verdict(codes) == 124
    out = capfd.readouterr().out
    assert out.count("in stands_here") == 2
    assert "run.py: failed: hangs (not ended after 45 minutes), hears nothing (not ended after 45 minutes)" in out


@pytest.fixture
def stages_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[str]]]:
    """What `run.py test` with these arguments would run, without running it."""
    asked: dict[str, list[str]] = {}

    def take(stages: stages.Stages) -> dict[str, int]:
        asked.update({name: command for name, (command, _) in stages.items()})
        return {}

    monkeypatch.setattr(run, "run_side_by_side", take)
    monkeypatch.setattr(run, "environment", lambda flavour, **_: Path(flavour))
    monkeypatch.setattr(run, "find_chromium", lambda _python: "chromium")

    def of(*arguments: str) -> dict[str, list[str]]:
        assert run.main(["test", *arguments]) == 0
        return asked

    return of


def _marks(command: list[str]) -> str:
    return command[command.index("-m", 3) + 1] if "-m" in command[3:] else ""


def test_everything_is_linted_before_it_is_tested(stages_of: Callable[..., dict[str, list[str]]]) -> None:
    asked = stages_of()
    assert list(asked)[:5] == ["ruff", "ruff format", "pyright", "pyright of the trainer", "import rules"]
    tests = [command for name, command in asked.items() if "pytest" in command]
    for flavour in ("a1111", "forge"):
        folders = {word for command in tests if command[0] == flavour for word in command if word.startswith("tests/")}
        everywhere = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/__init__.py")}
        assert folders == everywhere - {"tests/training"}
    assert [(command[5], _marks(command)) for command in tests if command[0] == "training"] == [
        ("tests/training", "not slow")
    ]
    assert {_marks(command) for command in tests} == {"not slow", "not slow and not a1111 and not once"}


def test_slow_tests_are_asked_for_alone(stages_of: Callable[..., dict[str, list[str]]]) -> None:
    asked = stages_of("--slow")
    assert {_marks(command) for command in asked.values()} == {"slow", "slow and not a1111 and not once"}
    for path in (ROOT / "tests").rglob("test_*.py"):
        if "pytest.mark.slow" in path.read_text(encoding="utf-8"):
            folder = f"tests/{path.relative_to(ROOT).parts[1]}"
            assert any(folder in command for command in asked.values()), f"--slow does not come to {path}"


def test_coverage_is_asked_for_and_has_no_say(
    stages_of: Callable[..., dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(run, "run", lambda command, _environ: counted.append(command[3]) or 0)
    assert not any("coverage" in command for command in stages_of().values())
    assert counted == []
    asked = stages_of("--coverage", "tests/unit")
    assert [command[1:6] for name, command in asked.items() if name.startswith("tests/unit on")] == [
        ["-m", "coverage", "run", "-m", "pytest"]
    ] * 2
    assert counted == ["combine", "report", "html"]
    monkeypatch.setattr(run, "run", lambda *_: 1)
    assert run.main(["test", "--coverage"]) == 0


def test_a_part_is_tested_on_one_stack(stages_of: Callable[..., dict[str, list[str]]]) -> None:
    [command] = stages_of("--flavour", "forge", "tests/e2e").values()
    assert (command[0], command[-1]) == ("forge", "not a1111 and not once")
    assert "tests/e2e" in command


def test_pytest_arguments_keep_their_order() -> None:
    args, rest = run.parser().parse_known_args(["test", "tests/unit", "-k", "a or b", "-x", "--flavour", "forge"])
    assert (args.flavour, rest) == ("forge", ["tests/unit", "-k", "a or b", "-x"])


def test_the_chromium_that_is_named_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DD_CHROMIUM", sys.executable)
    assert run.find_chromium(Path(sys.executable)) == sys.executable
    monkeypatch.setenv("DD_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(environments.Refusal, match="which is no file"):
        run.find_chromium(Path(sys.executable))


def test_flavours_are_read_from_the_embedded_webui() -> None:
    assert run.flavours_built()[0] == "a1111"


def test_a_marker_names_the_tools_it_has(project: Project) -> None:
    assert {"tools"} == set(json.loads((project.environments()[0] / "complete.json").read_text()))
