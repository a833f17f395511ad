"""Which files fit the loaded checkpoint, by their headers; the list's order; and who looks at the files, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from extension_core.hosts.common.files import known_files
from extension_core.hosts.common.files.known_files import MOST_AT_ONCE, KnownFiles
from extension_core.sampling.families import detect_family
from extension_core.sampling.roles import is_few_step
from extension_core.sampling.routing import Phase
from extension_core.ui.offers import PUBLIC_FILES, Offer, best_first, heading, none_found
from extension_core.weights.choices import Choice, lora_choice
from extension_core.weights.compatibility import Shapes
from extension_core.weights.file_facts import Facts, facts_of, facts_of_loaded, misfit
from extension_core.weights.file_state import FileState
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.reader import Header
from tests.unit.test_layouts import full_unet
from tests.waiting import until

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

KINDS = {"SD 1.5": "SD 1.x", "SD 2.1": "SD 2.x", "SDXL": "SDXL"}
FIRST = f"{UNET_PREFIX}input_blocks.0.0.weight"


@cache
def unet(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in full_unet(name).items()}


def header(shapes: Shapes, metadata: dict[str, str] | None = None) -> Header:
    return Header(Path("file.safetensors"), shapes, metadata or {}, FileState(1, 1, 1))


def lora_of(shapes: Shapes, rank: int = 4) -> dict[str, tuple[int, ...]]:
    """On every attention to the prompt, in kohya's names."""
    layers = {key.removesuffix(".weight"): shape for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")}
    made: dict[str, tuple[int, ...]] = {}
    for layer, (outputs, inputs) in layers.items():
        name = "lora_unet_" + layer.removeprefix(UNET_PREFIX).replace(".", "_")
        made |= {f"{name}.lora_up.weight": (outputs, rank), f"{name}.lora_down.weight": (rank, inputs)}
    return made


class TestFacts:
    @pytest.mark.parametrize("name", KINDS)
    def test_of_whole_checkpoints_unets_and_loras(self, name: str) -> None:
        shapes = unet(name)
        vae = {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
        diffusers = {theirs: shapes[ours] for theirs, ours in diffusers_table(shapes).items()}
        bare = {key.removeprefix(UNET_PREFIX): shape for key, shape in shapes.items()}
        for file, kind, channels in (
            ({**shapes, **vae}, "checkpoint", 4),
            (shapes, "unet", 4),
            (bare, "unet", 4),
            (diffusers, "unet", 4),
            (lora_of(shapes), "lora", 0),
        ):
            found = facts_of(header(file))
            assert (found.kind, found.architecture, found.channels, found.problem) == (kind, KINDS[name], channels, "")

    @pytest.mark.parametrize("theirs", KINDS)
    @pytest.mark.parametrize("ours", KINDS)
    def test_each_fits_its_own_alone(self, ours: str, theirs: str) -> None:
        loaded = facts_of_loaded(unet(ours), "eps")
        for file in (unet(theirs), lora_of(unet(theirs))):
            reason = misfit(facts_of(header(file)), loaded)
            assert reason == (
                "" if ours == theirs else f"it is {KINDS[theirs]}, and the loaded checkpoint {KINDS[ours]}"
            )

    def test_other_channels_and_another_prediction(self) -> None:
        shapes = unet("SD 1.5")
        loaded = facts_of_loaded(shapes, "eps")
        inpainting = facts_of(header({**shapes, FIRST: (320, 9, 3, 3)}))
        assert (
            misfit(inpainting, loaded) == "it is an inpainting model, and the loaded checkpoint a text-to-image model"
        )
        assert (
            misfit(facts_of(header(lora_of(shapes))), facts_of_loaded({**shapes, FIRST: (320, 9, 3, 3)}, "eps")) == ""
        )
        v = facts_of(header({**shapes, "v_pred": ()}))
        assert misfit(v, loaded) == "it predicts v, and the loaded checkpoint eps"
        by_yaml = facts_of(header(shapes), 'parameterization: "v"')
        assert misfit(by_yaml, loaded) == "it predicts v, and the loaded checkpoint eps"

    def test_what_takes_turns_with_nothing(self) -> None:
        loaded = facts_of_loaded(unet("SDXL"), "eps")
        lcm = facts_of(header({**unet("SDXL"), f"{UNET_PREFIX}time_embedding.cond_proj.weight": (320, 256)}))
        assert "cond_proj" in str(misfit(lcm, loaded))
        cosxl = facts_of(header({**unet("SDXL"), "edm_vpred.sigma_max": ()}))
        assert "CosXL" in str(misfit(cosxl, loaded))
        assert misfit(facts_of(header({"decoder.conv_in.weight": (4, 4)})), loaded) == "it holds no U-Net and no LoRA"
        flux = facts_of(header({"double_blocks.0.img_attn.qkv.weight": (4, 4)}))
        assert misfit(flux, loaded) == "it is for Flux or a relative of it"

    def test_what_the_header_does_not_say(self) -> None:
        style = {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": (4, 4)}
        assert misfit(facts_of(header(style)), facts_of_loaded(unet("SDXL"), "eps")) is None
        assert misfit(facts_of(header(unet("SDXL"))), Facts()) is None


def offer(name: str, fits: bool | None = True, kind: str = "checkpoint", reason: str = "") -> Offer:
    return Offer(name, name, kind, detect_family(name, {}), fits, reason)  # pyright: ignore[reportArgumentType]


OFFERS = [
    offer("zzz_old_model", False, reason="it is SD 1.x, and the loaded checkpoint SDXL"),
    offer("film_grain", True, "lora"),
    offer("juggernaut_xl"),
    offer("sdxl_flash_mini"),
    offer("LoRA: sdxl_lightning_4step_lora", True, "lora"),
    offer("dmd2_sdxl_4step_unet", True, "unet"),
    offer("realvisxlV40_v40LightningBakedvae", None),
    Offer("broken", "broken", "", None, False, "it is empty"),
]


class TestOrder:
    def test_few_step_files_first(self) -> None:
        assert [each.name for each in best_first(OFFERS)] == [
            "realvisxlV40_v40LightningBakedvae",
            "dmd2_sdxl_4step_unet",
            "LoRA: sdxl_lightning_4step_lora",
            "sdxl_flash_mini",
            "juggernaut_xl",
            "film_grain",
            "broken",
            "zzz_old_model",
        ]

    def test_bases_first(self) -> None:
        names = [each.name for each in best_first(OFFERS, Phase.BASE)]
        assert names[:2] == ["juggernaut_xl", "sdxl_flash_mini"]
        assert names[-2:] == ["broken", "zzz_old_model"]

    def test_words(self) -> None:
        words = {each.name: each.words for each in OFFERS}
        assert words["LoRA: sdxl_lightning_4step_lora"] == "LoRA, SDXL-Lightning, 4 steps, fits"
        assert words["dmd2_sdxl_4step_unet"] == "U-Net, DMD2, 4 steps, fits"
        assert words["sdxl_flash_mini"] == "checkpoint, may be a few-step model, family not known, fits"
        assert words["juggernaut_xl"] == "checkpoint, family not known, fits"
        assert words["zzz_old_model"] == "does not fit: it is SD 1.x, and the loaded checkpoint SDXL"
        unknown = offer("lcm_lora", None, "lora", "it has not been looked at yet")
        assert unknown.words == "LoRA, LCM, not known whether it fits: it has not been looked at yet"

    @pytest.mark.parametrize("part", Phase)
    def test_what_has_one_heading_stands_together(self, part: Phase) -> None:
        kinds = ("lora", "checkpoint", "unet")
        names = ("sdxl_lightning_4step_lora", "sdxl_flash_mini", "juggernaut_xl")
        offers = [offer(f"{kind} {name}", fits, kind) for kind in kinds for name in names for fits in (True, None)]
        offers += [offer(f"{kind} {name}", False, kind) for kind in kinds for name in names]
        headings = [heading(each, part) for each in best_first([*offers, *OFFERS], part)]
        starts = [one for one, before in zip(headings, ["", *headings[:-1]], strict=True) if one != before]
        assert len(starts) == len(set(starts))
        assert starts[-1] == "Do not fit"
        wanted = {Phase.DISTILLED: "Few-step checkpoints", Phase.BASE: "Bases: checkpoints"}
        assert starts[0] == wanted[part]

    def test_kinds_have_headings_of_their_own(self) -> None:
        headings = {each.name: heading(each) for each in OFFERS}
        assert headings["dmd2_sdxl_4step_unet"] == "Few-step U-Nets"
        assert headings["LoRA: sdxl_lightning_4step_lora"] == "Few-step LoRAs"
        assert headings["sdxl_flash_mini"] == "Not certain: checkpoints"
        assert headings["film_grain"] == "Other LoRAs"
        assert headings["broken"] == headings["zzz_old_model"] == "Do not fit"


class TestNoneFound:
    def test_says_where_and_what_there_is(self) -> None:
        offers = [offer("juggernaut_xl"), offer("sdxl_lightning_4step_lora", False, "lora")]
        sentence = none_found(offers, "SDXL", ["/models/Stable-diffusion", "/models/Lora"])
        assert sentence.startswith("No few-step file for SDXL was found in '/models/Stable-diffusion', '/models/Lora';")
        assert "sdxl_lightning_4step_lora" in sentence
        assert "dmd2_sdxl_4step_unet_fp16" in sentence
        assert none_found([], "SD 2.x", ["/m"]).count("sd_turbo") == 1
        assert "public" not in none_found([], "SSD-1B", ["/m"])
        assert "http" not in sentence

    def test_nothing_where_one_may_fit(self) -> None:
        assert none_found([offer("sdxl_lightning_4step_lora", None, "lora")], "SDXL", ["/m"]) == ""
        assert none_found([offer("juggernaut_xl")], "SDXL", ["/m"], Phase.BASE) == ""
        assert "No other checkpoint" in none_found([offer("my_lora", True, "lora")], "SDXL", ["/m"], Phase.BASE)

    def test_public_files_are_told_by_their_names(self) -> None:
        for name in (name for names in PUBLIC_FILES.values() for name in names):
            assert is_few_step(detect_family(name, {})), name


class Later:
    """In the place of a thread: runs when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def run(self) -> None:
        self.calls.pop()()


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened, in order."""
    names: list[str] = []
    original = known_files.header_of

    def counting(path: Path, state: FileState) -> Header:
        names.append(path.stem)
        return original(path, state)

    monkeypatch.setattr(known_files, "header_of", counting)
    return names


def written(folder: Path, *names: str) -> list[Choice]:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_up.weight": torch.zeros(8, 2), f"{layer}.lora_down.weight": torch.zeros(2, 768)}
    for name in names:
        save_file(tensors, folder / f"{name}.safetensors")
    return [lora_choice(name, folder / f"{name}.safetensors") for name in names]


class TestKnownFiles:
    def test_asking_opens_nothing(self, tmp_path: Path, later: Later, opened: list[str]) -> None:
        listed, known = written(tmp_path, "style", "lcm_lora"), KnownFiles(later.calls.append)
        seen, pending = known.seen(listed)
        assert (opened, pending) == ([], 2)
        assert [one.unknown for one in seen] == ["it has not been looked at yet"] * 2
        assert [is_few_step(one.detection) for one in seen if one.detection] == [False, True]
        later.run()
        assert opened == ["lcm_lora", "style"], "what is most likely wanted comes first"
        seen, pending = known.seen(listed)
        assert pending == 0
        assert [one.facts.architecture for one in seen] == ["SD 1.x"] * 2
        assert len(opened) == 2

    def test_one_at_a_time_and_not_more_than_so_many(self, tmp_path: Path, later: Later, opened: list[str]) -> None:
        names = [f"style {number}" for number in range(MOST_AT_ONCE + 3)]
        listed, known = written(tmp_path, *names), KnownFiles(later.calls.append)
        known.seen(listed)
        known.seen(listed)
        assert len(later.calls) == 1
        later.run()
        assert len(opened) == MOST_AT_ONCE
        assert known.seen(listed)[1] == 3
        later.run()
        assert known.seen(listed)[1] == 0
        assert not later.calls

    def test_a_file_that_changed_is_looked_at_again(self, tmp_path: Path, later: Later, opened: list[str]) -> None:
        listed, known = written(tmp_path, "style"), KnownFiles(later.calls.append)
        known.seen(listed)
        later.run()
        save_file({"double_blocks.0.img_attn.qkv.weight": torch.zeros(2)}, listed[0].path)
        assert known.seen(listed)[1] == 1
        later.run()
        seen, _pending = known.seen(listed)
        assert seen[0].facts.problem == "it is for Flux or a relative of it"
        assert len(opened) == 2

    def test_bad_files_and_pickles(self, tmp_path: Path, later: Later, opened: list[str]) -> None:
        listed, known = written(tmp_path, "fine"), KnownFiles(later.calls.append)
        for name in ("empty.safetensors", "pickled_lcm.ckpt"):
            (tmp_path / name).write_bytes(b"")
        listed += [lora_choice(name, tmp_path / name) for name in ("empty.safetensors", "pickled_lcm.ckpt")]
        listed.append(lora_choice("gone", tmp_path / "gone.safetensors"))
        known.seen(listed)
        later.run()
        fine, empty, pickled, gone = known.seen(listed)[0]
        assert (fine.facts.problem, fine.unknown) == ("", "")
        assert "no complete safetensors file" in empty.facts.problem
        assert (pickled.facts.problem, pickled.unknown) == ("", "a pickle is not opened to be looked at")
        assert "no such file" in gone.facts.problem
        assert "pickled_lcm" not in opened

    def test_what_is_no_longer_listed_is_forgotten(self, tmp_path: Path, later: Later, opened: list[str]) -> None:
        listed, known = written(tmp_path, "one", "two"), KnownFiles(later.calls.append)
        known.seen(listed)
        later.run()
        known.seen(listed[:1])
        assert known.seen(listed)[1] == 1
        assert len(opened) == 2

    def test_the_thread_ends(self, tmp_path: Path) -> None:
        listed, known = written(tmp_path, "one"), KnownFiles()
        known.seen(listed)
        until(lambda: known.seen(listed)[1] == 0, lambda: "the file was not looked at")
        until(
            lambda: all(thread.name != "diversity-distillation-files" for thread in threading.enumerate()),
            lambda: "the thread goes on",
        )
