"""Model files that move, change, vanish, grow and come back under a running WebUI: the right image or one sentence.

The base is what is loaded, as for the host itself, whatever its file is by now. A file that a request needs is what it
is when the request begins: the plan and the image agree on it, and what a request has begun with it keeps to its end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.flavour import flavour_under_test
from tests.e2e.moving import EVENTS, Becomes, Moving, remove, write_two
from tests.e2e.test_api import PREFIX, plan
from tests.e2e.test_forms import file_of, lora_folder
from tests.matrices import marked_but

HYBRID = {"family": "custom", "base_cfg": 5, "distilled_cfg": 5, "switch_step": 2}
# What a request can need of a file.
ROLES = ("distilled", "LoRA as distilled model", "origin")
# One event of each kind; the rest is told apart by the reader of files alone, which the tests of one role show.
FEW = ("deleted", "its folder renamed", "another in its place", "half copied", "a folder", "a link in a circle")
# The loaded base's own: Forge's text encoder reads its weights out of the file as long as it is loaded (`Linear` of
# backend/operations.py keeps what it is given, dfdcbab6), so a file cut short under it ends the host, without us too.
OF_LOADED = tuple(event for event in FEW if event != "half copied" or flavour_under_test() != "forge")
NEEDED = [
    *((role, True, event) for role in ROLES for event in (EVENTS if role == "distilled" else FEW)),
    *((role, False, event) for role in ROLES for event in FEW),
]


NAMES = {
    "base": "ddfile_base",
    "distilled": "ddfile_distilled",
    "origin": "ddfile_origin",
    "LoRA as distilled model": "ddfile_lora",
    "prompt's LoRA": "ddfile_prompted",
}


@dataclass
class Stage:
    """The files of these tests, all of them copies, each in a folder of its own; and the images that they make."""

    webui: WebUI
    pair: Pair
    moving: dict[str, Moving]
    base: str = NAMES["base"]
    _undisturbed: dict[tuple[Any, ...], Reply] = field(default_factory=dict)

    def settings(self, role: str, content: str = "same") -> dict[str, Any]:
        """A request that needs the role's file, or one that is like it once that has other content."""
        name = f"ddother_{NAMES[role]}" if content == "other" else NAMES[role]
        if role == "origin":
            return {**HYBRID, "distilled_model": self.pair.distilled, "carry_from": name}
        return {**HYBRID, "distilled_model": f"LoRA: {name}" if role.startswith("LoRA") else name}

    def image(self, role: str, content: str = "same", **request: Any) -> Reply:
        return self.webui.generate(self.base, self.settings(role, content), **request)

    def undisturbed(self, role: str, content: str = "same", **request: Any) -> Reply:
        """The same, made before anything has happened to any file, and once."""
        key = (role, content, *request.items())
        if key not in self._undisturbed:
            self._undisturbed[key] = self.image(role, content, **request).must_work()
        return self._undisturbed[key]

    def evict(self) -> None:
        """Another second model is resident from now on."""
        self.webui.generate(self.base, {**HYBRID, "distilled_model": f"{self.pair}_form_unet"}).must_work()


@pytest.fixture(scope="module")
def stage(webui: WebUI, pair: Pair) -> Iterator[Stage]:
    models, loras = file_of(webui, pair.base).parent, lora_folder(webui)
    beside = Path(tempfile.mkdtemp(dir=models.parent, prefix="ddbeside_"))
    sources = {
        "base": (file_of(webui, pair.base), models),
        "distilled": (file_of(webui, pair.distilled), models),
        "origin": (file_of(webui, pair.distilled), models),
        "LoRA as distilled model": (loras / f"{pair}_form_lora.safetensors", loras),
        "prompt's LoRA": (loras / f"{pair}_form_lora.safetensors", loras),
    }
    moving: dict[str, Moving] = {}
    others: list[Path] = []
    for role, (source, folder) in sources.items():
        path = folder / f"{NAMES[role]}_folder" / f"{NAMES[role]}.safetensors"
        path.parent.mkdir()
        others.append(folder / f"ddother_{path.name}")
        write_two(source, path, others[-1])
        (beside / path.stem).mkdir()
        moving[role] = Moving(path, others[-1], beside / path.stem)
    _refresh(webui)
    yield Stage(webui, pair, moving)
    webui.generate(pair.base).must_work()
    for path in (*others, beside, *(file.path.parent for file in moving.values())):
        remove(path)
    _refresh(webui)


def _refresh(webui: WebUI) -> None:
    webui.call("/sdapi/v1/refresh-loras", {})
    webui.call("/sdapi/v1/refresh-checkpoints", {})


def agrees(stage: Stage, role: str, becomes: Becomes, expected: Reply | None) -> None:
    """Plan and image, both asked now, are as they are to be."""
    status, planned = plan(stage.webui, stage.settings(role))
    reply = stage.image(role)
    if expected is None:
        told(reply, becomes.said)
        assert (status, planned["detail"]) == (422, reply.sentence), "the plan says another thing"
        assert str(stage.moving[role].path.parent) not in reply.sentence
    else:
        assert status == 200, planned
        assert reply.same_as(expected)


@pytest.mark.parametrize("event", OF_LOADED)
def test_the_loaded_base_is_what_is_loaded(stage: Stage, event: str) -> None:
    """Also where the second model is made of it, has yet to be read, or is put beside it."""
    kinds = {
        "hybrid": {**HYBRID, "distilled_model": stage.pair.distilled},
        "base": {**HYBRID, "distilled_model": stage.pair.distilled, "mode": "base"},
        "LoRA": {**HYBRID, "distilled_model": f"LoRA: {stage.pair}_form_lora"},
        "8 bits": {**HYBRID, "distilled_model": stage.pair.distilled, "residency": "8bit"},
    }
    before = {kind: stage.webui.generate(stage.base, chosen).must_work() for kind, chosen in kinds.items()}
    native = stage.webui.generate(stage.base)
    fingerprint = stage.webui.fingerprint()
    with stage.moving["base"].put_back() as moving:
        moving.happens(event)
        assert stage.webui.generate(stage.base).same_as(native), "the host's own image"
        for kind, chosen in kinds.items():
            assert plan(stage.webui, chosen)[0] == 200, kind
            assert stage.webui.generate(stage.base, chosen).same_as(before[kind]), kind
        assert stage.webui.fingerprint() == fingerprint
    assert stage.webui.generate(stage.base, kinds["hybrid"]).same_as(before["hybrid"])


@pytest.mark.once  # who reads the file is the same for every host
@pytest.mark.parametrize(("role", "resident", "event"), NEEDED)
def test_a_file_that_a_request_needs(stage: Stage, role: str, resident: bool, event: str) -> None:
    """Before a request and between two; and between a plan and the image that was planned."""
    becomes = EVENTS[event]
    same = stage.undisturbed(role)
    expected = stage.undisturbed(role, becomes.content) if becomes.content else None
    if resident:
        assert stage.image(role).same_as(same)
    else:
        stage.evict()
    fingerprint = stage.webui.fingerprint()
    assert plan(stage.webui, stage.settings(role))[0] == 200
    with stage.moving[role].put_back() as moving:
        moving.happens(event)
        agrees(stage, role, becomes, expected)
        assert stage.webui.fingerprint() == fingerprint
    assert stage.image(role).same_as(same), "the next request, with the file back again"


@pytest.mark.parametrize(
    ("role", "event"),
    [
        *(("base", event) for event in OF_LOADED),
        *(("distilled", event) for event in FEW),
        *(pytest.param(role, event, marks=pytest.mark.once) for role in ROLES[1:] for event in FEW),
    ],
)
def test_a_request_keeps_to_its_end_what_it_began_with(stage: Stage, role: str, event: str) -> None:
    """Between its batches, whatever becomes of the files."""
    needed = "distilled" if role == "base" else role
    whole = stage.undisturbed(needed, n_iter=2)
    with stage.moving[role].put_back() as moving:
        steps = moving.steps(event)
        assert stage.image(needed, n_iter=2, faults={"files": {"batch": 1, "steps": steps}}).same_as(whole)


@pytest.mark.parametrize("event", FEW)
@pytest.mark.parametrize("role", marked_but(["distilled"], ROLES, pytest.mark.once))
def test_a_file_between_its_check_and_its_reading(stage: Stage, role: str, event: str) -> None:
    """A request that has its model goes on; one that has yet to read it is refused, never given something else."""
    same = stage.undisturbed(role)
    for resident in (True, False):
        if resident:
            assert stage.image(role).same_as(same)
        else:
            stage.evict()
        fingerprint = stage.webui.fingerprint()
        with stage.moving[role].put_back() as moving:
            steps = moving.steps(event)
            reply = stage.image(role, faults={"files": {"batch": 0, "steps": steps}})
            if resident:
                assert reply.same_as(same)
            else:
                told(reply, EVENTS[event].said or "was changed on the disk while", "was changed on the disk while")
            assert stage.webui.fingerprint() == fingerprint
    assert stage.image(role).same_as(same)


def told(reply: Reply, *any_of: str) -> None:
    """A refusal in one sentence of our own."""
    assert reply.status == 422, reply.sentence
    assert any(said in reply.sentence for said in any_of), reply.sentence
    assert "\n" not in reply.sentence
    assert "Errno" not in reply.sentence


# Forge keeps the prompt's LoRAs mapped: a file that is cut short under it ends the process, with us or without.
OF_PROMPT = tuple(event for event in FEW if event != "half copied" or flavour_under_test() != "forge")


@pytest.mark.parametrize("event", OF_PROMPT)
def test_a_lora_of_the_prompt_is_as_the_host_has_it(stage: Stage, event: str) -> None:
    """The host has rules of its own for those; the base's part of a hybrid is under them."""
    request = {"prompt": "a red cat <lora:ddfile_prompted:0.7>"}
    chosen = {**HYBRID, "distilled_model": stage.pair.distilled}
    before = stage.webui.generate(stage.base, chosen, **request).must_work()
    with stage.moving["prompt's LoRA"].put_back() as moving:
        moving.happens(event)
        stage.webui.generate(stage.base).must_work()
        native = stage.webui.generate(stage.base, **request).must_work()
        assert stage.webui.generate(stage.base, {**chosen, "mode": "base"}, **request).same_as(native)
        stage.webui.generate(stage.base, chosen, **request).must_work()
        assert stage.webui.generate(stage.base, **request).same_as(native)
    _refresh(stage.webui)
    stage.webui.generate(stage.base).must_work()
    assert stage.webui.generate(stage.base, chosen, **request).same_as(before)


@pytest.mark.once
@pytest.mark.parametrize("event", [*FEW, "a link to nothing", "no file at all"])
def test_the_list_tells_what_became_of_a_file(stage: Stage, event: str) -> None:
    """And of every other what it told before; the host's own lists are made anew with it there."""
    before = _listed(stage)
    fingerprint = stage.webui.fingerprint()
    with stage.moving["distilled"].put_back() as moving:
        moving.happens(event)
        after = _listed(stage)
        mine = after.pop(next(name for name in after if name.startswith("ddfile_distilled_folder/")))
        others = {name: told for name, told in before.items() if name in after}
        assert {name: after[name] for name in others} == others
        assert (mine["family"] is None) == (EVENTS[event].content == "")
        assert EVENTS[event].said in mine["why"]
        if event != "no file at all":  # which the host would wait for
            assert stage.webui.call("/sdapi/v1/refresh-checkpoints", {})[0] == 200
            assert stage.webui.get(f"{PREFIX}/models")
        assert stage.webui.fingerprint() == fingerprint
    _refresh(stage.webui)
    assert _listed(stage) == before


def _listed(stage: Stage) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in stage.webui.get(f"{PREFIX}/models")}


@pytest.mark.once
@pytest.mark.parametrize("kind", ["a folder", "a link to nothing", "a link in a circle", "no UTF-8"])
def test_a_yaml_beside_that_says_nothing(stage: Stage, kind: str) -> None:
    """It is asked for the prediction type alone."""
    yaml = stage.moving["distilled"].path.with_suffix(".yaml")
    same = stage.image("distilled").must_work()
    try:
        if kind == "a folder":
            yaml.mkdir()
        elif kind == "no UTF-8":
            yaml.write_bytes("# größer\n".encode("latin-1"))
        else:
            yaml.symlink_to(yaml if kind == "a link in a circle" else yaml.with_name("nothing"))
        status, planned = plan(stage.webui, stage.settings("distilled"))
        reply = stage.image("distilled")
        if kind == "a link in a circle":
            assert (status, reply.status) == (422, 422)
            assert reply.sentence == planned["detail"]
            assert "The configuration 'ddfile_distilled.yaml' beside" in reply.sentence
        else:
            assert status == 200, planned
            assert reply.same_as(same)
    finally:
        remove(yaml)
    assert stage.image("distilled").same_as(same)
