"""The pictures of README and docs: small, there, and shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.screenshots import main

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ROOT = Path(__file__).resolve().parents[2]
KINDS = {".webp", ".png", ".jpg", ".jpeg", ".gif", ".svg"}
PICTURES = {path for path in (ROOT / "docs").rglob("*") if path.suffix in KINDS}
ALL_BYTES, PNG_BYTES = 1_000_000, 100_000


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES) < ALL_BYTES
    assert [path.name for path in PICTURES if path.suffix == ".png" and path.stat().st_size > PNG_BYTES] == []


def test_every_one_is_there_and_is_shown() -> None:
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            if Path(target).suffix in KINDS:
                shown.add((page.parent / target).resolve())
    assert shown == PICTURES


def test_pictures_are_written_as_the_docs_keep_them(tmp_path: Path) -> None:
    source = tmp_path / "grid.png"
    Image.linear_gradient("L").convert("P").save(source)
    assert main(["--out", str(tmp_path / "docs"), "--convert", str(source)]) == 0
    (written,) = (tmp_path / "docs").iterdir()
    with Image.open(written) as picture:
        assert (written.name, picture.format, picture.size) == ("grid.webp", "WEBP", (256, 256))
