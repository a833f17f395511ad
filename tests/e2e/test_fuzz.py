"""Our routes as schemathesis sees them in the host's OpenAPI document: no answer that it does not tell of."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_api import PREFIX
from tests.waiting import PATIENCE

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 60


@pytest.fixture
def recorded(webui: WebUI, pair: Pair) -> str:
    """Id of a generation that has ended, so that the preview's routes have something to tell."""
    identifier = secrets.token_urlsafe(24)
    settings = {"distilled_model": pair.distilled, "family": "dmd2", "dt": {"id": identifier}}
    webui.generate(pair.base, settings, batch_size=2).must_work()
    return identifier


def our_document(webui: WebUI, pair: Pair) -> dict[str, Any]:
    """Our part of the document; plans ask for models that are there, so that most of them are made."""
    document = webui.get("/openapi.json")
    paths = {path: item for path, item in document["paths"].items() if path.startswith(PREFIX)}
    body = paths[f"{PREFIX}/plan"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    one_dict, _ = body["properties"]["args"]["anyOf"]
    names = [name for name in (pair.distilled, pair.base, pair.lora) if name]
    one_dict["items"]["properties"]["distilled_model"] = {"type": "string", "enum": names}
    one_dict["items"]["properties"]["carry_from"] = {"type": "string", "enum": ["", pair.base]}
    one_dict["items"]["required"] = ["distilled_model"]
    for name, known in (
        ("sampler_name", webui.samplers()),
        ("scheduler", [each["label"] for each in webui.get("/sdapi/v1/schedulers")]),
    ):
        for field in (name, f"hr_{name}"):
            body["properties"]["request"]["properties"][field] = {"type": "string", "enum": known}
    return {"openapi": document["openapi"], "info": document["info"], "paths": paths}


def test_nothing_that_schemathesis_sends_breaks_a_route(
    webui: WebUI, pair: Pair, recorded: str, tmp_path: Path
) -> None:
    clean, before = webui.generate(pair.base), webui.fingerprint()
    document, config = tmp_path / "openapi.json", tmp_path / "schemathesis.toml"
    document.write_text(json.dumps(our_document(webui, pair)))
    config.write_text(f'[parameters]\nidentifier = "{recorded}"\n')
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(document)]
    command += ["--url", webui.url, "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--generation-deterministic"]
    command += ["--suppress-health-check", "all", "--warnings", "off"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted is not None, done.stdout[-2000:]
    assert int(counted[1]) == int(counted[2]) >= 300
    assert webui.fingerprint() == before
    assert webui.generate(pair.base).same_as(clean)
