"""The extension's files replaced while the WebUI runs, as `git pull` and the Extensions tab do, then "Reload UI"."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.client import WebUI
from tests.e2e.embedded_host import ROOT
from tests.embedded import servers
from tests.embedded.conftest import FLAVOUR

HYBRID = {"enabled": True, "distilled_model": "second"}
BEFORE, AFTER = "does not know the argument", "was never told of an argument"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the extension in a folder of extensions."""
    folder = tmp_path / "extensions" / "diversity-distillation"
    for part in ("extension_core", "scripts", "javascript"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def say_what_is_dropped(package: Path) -> None:
    """In the version that is replaced: a real host may keep a request, and with it the second model, for ever."""
    file = package / "weights" / "residency.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("            model.release()", "            model.release()\n            print('freed')")
    )


def replace(package: Path) -> None:
    """A newer version: a module has become a package, its users know of it, and a sentence is another."""
    (package / "problems").mkdir()
    (package / "errors.py").rename(package / "problems" / "kinds.py")
    (package / "problems" / "__init__.py").touch()
    for file in package.rglob("*.py"):
        text = file.read_text(encoding="utf-8").replace("extension_core.errors", "extension_core.problems.kinds")
        file.write_text(text.replace(BEFORE, AFTER), encoding="utf-8")


def sentence(webui: WebUI) -> str:
    """What an argument that there is not is answered."""
    return webui.generate("base", {**HYBRID, "nonsense": 1}).sentence


def test_an_update_is_whole_after_reload_ui(installed: Path, model_folder: Path, tmp_path: Path) -> None:
    say_what_is_dropped(installed / "extension_core")
    arguments = ("--without-self", "--extensions-dir", str(installed.parent), "--ckpt-dir", str(model_folder))
    with servers.serving(servers.Server, tmp_path, FLAVOUR, *arguments, "--api-server-stop") as server:
        webui = WebUI(server.url)
        before = webui.generate("base", HYBRID)
        assert BEFORE in sentence(webui)
        replace(installed / "extension_core")
        assert BEFORE in sentence(webui), "until then the version that was started runs on"
        assert before.same_as(webui.generate("base", HYBRID))
        webui.call("/sdapi/v1/server-restart", {})
        log = server.wait(lambda text: text.count("Startup time:") == 2)
        assert "could not be loaded" not in log
        assert "freed" in log.rpartition("Restarting UI...")[2]
        assert AFTER in sentence(webui)
        assert before.same_as(webui.generate("base", HYBRID))
