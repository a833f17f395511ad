"""Where the two U-Nets are while they take turns on the Forge flavour, on a card that the tests make up.

On a CPU the host neither moves a model nor evicts one, so the card is what its patchers were last told.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from extension_core.weights.reader import read_header
from tests.embedded.conftest import Answer, Host

pytestmark = pytest.mark.forge
On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
LORA = "a red cat <lora:tiny:0.8>"
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.6, "hr_cfg": 5}
HIRES |= {"hr_additional_modules": ["Use same choices"], "hr_second_pass_steps": 4}
GIB = 1 << 30


@dataclass
class Card:
    """A card of the tests' own.

    Attributes:
        models: those on it, by id.
        seen: at each call of a U-Net, which of "base", "distilled" and "8bit" ran and which were on the card.
        loads: what the host's `load_models_gpu` was asked: patchers and memory.
        out_at: U-Net calls, from 1, at which memory runs out.
    """

    capacity: float = 1e15
    models: dict[int, torch.nn.Module] = field(default_factory=dict)
    seen: list[tuple[str, set[str]]] = field(default_factory=list)
    loads: list[tuple[list[Any], float, float]] = field(default_factory=list)
    out_at: tuple[int, ...] = ()
    calls: int = 0

    def moved(self, model: Any, target: Any, there: bool) -> None:
        if target is None:
            return
        if there:
            self.models[id(model)] = model
        else:
            self.models.pop(id(model), None)

    def forget(self) -> None:
        """Hold on to no model."""
        self.models.clear()
        self.loads.clear()

    def size(self, module: Any, exclude_device: Any = None, include_device: Any = None) -> int:
        whole = sum(x.nelement() * x.element_size() for x in module.parameters())
        on_it = id(module) in self.models
        return whole if (exclude_device is None or not on_it) and (include_device is None or on_it) else 0

    def free(self, *_args: Any) -> float:
        return self.capacity - sum(map(self.size, self.models.values()))

    def before_call(self, module: Any, _args: Any) -> None:
        names = {id(unet.diffusion_model): (name, id(unet) in self.models) for name, unet in unets().items()}
        if id(module) not in names:
            return
        self.seen.append((names[id(module)][0], {name for name, on_it in names.values() if on_it}))
        self.calls += 1
        if self.calls in self.out_at:
            raise torch.cuda.OutOfMemoryError("made up: out of memory")


def unets() -> dict[str, Any]:
    """The `KModel`s that there are."""
    from modules import shared

    from extension_core.hosts.forge import base_unet, model

    found = {"base": shared.sd_model.forge_objects_original.unet.model}
    for name, residency in (("distilled", model.RESIDENCY), ("8bit", base_unet.KEPT_IN_8_BITS)):
        if residency.model is not None:
            found[name] = residency.model.unet.patcher.model
    return found


@pytest.fixture
def engine(host: Host) -> Iterator[Any]:
    """The loaded model, with nothing of ours beside it before and after."""
    from backend import memory_management
    from modules import shared

    from extension_core.hosts.forge import base_unet, model

    def drop() -> None:
        for residency in (model.RESIDENCY, base_unet.KEPT, base_unet.KEPT_IN_8_BITS):
            residency.drop()
        memory_management.unload_all_models()

    host.txt2img(steps=1)
    drop()
    yield shared.sd_model
    drop()


@pytest.fixture
def card(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """The host's memory functions, on the card."""
    from backend import memory_management
    from backend.patcher.base import ModelPatcher

    from extension_core.hosts.forge import memory

    made = Card()
    patch, unpatch = ModelPatcher.forge_patch_model, ModelPatcher.forge_unpatch_model
    load = memory_management.load_models_gpu

    def patched(self: Any, target_device: Any = None) -> Any:
        made.moved(self.model, target_device, there=True)
        return patch(self, target_device)

    def unpatched(self: Any, target_device: Any = None) -> None:
        made.moved(self.model, target_device, there=False)
        unpatch(self, target_device)

    def loaded(models: Any, memory_required: float = 0, hard_memory_preservation: float = 0) -> None:
        made.loads.append((list(models), memory_required, hard_memory_preservation))
        load(models, memory_required, hard_memory_preservation)

    monkeypatch.setattr(ModelPatcher, "forge_patch_model", patched)
    monkeypatch.setattr(ModelPatcher, "forge_unpatch_model", unpatched)
    monkeypatch.setattr(memory_management, "load_models_gpu", loaded)
    monkeypatch.setattr(memory_management, "module_size", made.size)
    monkeypatch.setattr(memory_management, "get_free_memory", made.free)
    monkeypatch.setattr(memory_management, "is_device_cpu", lambda _device: False)
    monkeypatch.setattr(memory_management, "vae_dtype", lambda *_args, **_more: torch.float32)
    monkeypatch.setattr(memory_management, "current_inference_memory", 0)
    monkeypatch.setattr(memory, "in_ram", lambda: False)
    handle = torch.nn.modules.module.register_module_forward_pre_hook(made.before_call)
    yield made
    handle.remove()


@dataclass
class Ours:
    """Requests with the extension, which the embedded WebUI of these tests does not load itself."""

    host: Host
    card: Card
    on: On

    def __call__(self, residency: str, values: dict[str, Any] | None = None, **request: Any) -> Answer:
        from extension_core.hosts.common import hooks
        from extension_core.hosts.forge.host import Forge

        chosen = {"distilled_model": "second", "family": "custom", "base_cfg": 5, "distilled_cfg": 5}
        chosen |= {"switch_step": 2, "residency": residency, **(values or {})}
        self.on("process")(lambda p, *_: hooks.begin(Forge(), p, [chosen]))
        self.on("process_batch")(lambda p, *_a, **_k: hooks.before_batch(p))
        before = self.host.recorder.actions.get("process_before_every_sampling")

        @self.on("process_before_every_sampling")
        def attach(p: Any, *args: Any) -> None:
            if before is not None:
                before(p, *args)
            hooks.before_sampling(p)

        self.card.seen.clear()
        self.card.loads.clear()
        self.card.calls = 0
        try:
            return self.host.txt2img(**request)
        finally:
            self.host.recorder.actions.clear()

    def working(self, *args: Any, **request: Any) -> Answer:
        """One that must not fail."""
        answer = self(*args, **request)
        assert answer.status == 200, answer.body
        return answer

    def lives(self, answer: Answer) -> str:
        """What the infotext says of the memory."""
        return answer.infotext.split("DD memory: ", 1)[1].split(", DD", 1)[0].split(", Version", 1)[0]


@pytest.fixture
def ours(host: Host, card: Card, on: On) -> Ours:
    return Ours(host, card, on)


def fingerprint(unet: Any) -> str:
    """Hash of a model's parameters as they are without networks."""
    digest = hashlib.sha256()
    for name, tensor in unet.named_parameters():
        plain = unet.lora_loader.backup.get(name, tensor)
        digest.update(name.encode() + plain.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def listed() -> list[Any]:
    """U-Nets that the host's memory management knows as loaded."""
    from backend import memory_management

    models = [loaded.model.model for loaded in memory_management.current_loaded_models]
    return [model for model in models if hasattr(model, "diffusion_model")]


def test_both_are_there_from_the_first_step(ours: Ours) -> None:
    answer = ours.working("both")
    assert ours.card.seen == [(name, {"base", "distilled"}) for name in ("base", "base", "distilled", "distilled")]
    assert ours.lives(answer) == "both models on cpu"


@pytest.mark.parametrize("request_", [{}, {"prompt": LORA}, HIRES], ids=["plain", "lora", "hires"])
@pytest.mark.parametrize("sampler", ["Euler a", "Heun", "DPM++ 2M", "DDIM"])
def test_one_at_a_time_makes_the_same_image(ours: Ours, sampler: str, request_: dict[str, Any]) -> None:
    values = {"passes": "both"}
    both = ours.working("both", values, sampler_name=sampler, **request_)
    before = {name: fingerprint(unet) for name, unet in unets().items()}
    ram = ours.working("ram", values, sampler_name=sampler, **request_)
    assert ram.equals(both)
    assert all(there == {name} for name, there in ours.card.seen)
    assert {name for name, _ in ours.card.seen} == {"base", "distilled"}
    assert {name: fingerprint(unet) for name, unet in unets().items()} == before
    assert ours.lives(ram) == '"both models on cpu for its steps, else in RAM"'


def test_the_host_knows_what_is_loaded(ours: Ours) -> None:
    """After a run the distilled model is, and the host brings its own by itself."""
    plain = ours.host.txt2img()
    ours.working("ram")
    assert listed() == [unets()["distilled"]]
    assert ours.host.txt2img().equals(plain)
    assert unets()["base"] in listed()


def test_a_switch_asks_for_the_room_that_the_host_asks_for(ours: Ours) -> None:
    ours.working("ram", width=128, batch_size=2)
    first, second = [load for load in ours.card.loads if hasattr(load[0][0].model, "diffusion_model")]
    assert [load[0][0].model for load in (first, second)] == [unets()["base"], unets()["distilled"]]
    assert first[1:] == second[1:]
    assert first[1] > 0


def test_what_others_load_beside_the_unet_stays(ours: Ours) -> None:
    from backend.patcher.base import ModelPatcher

    cpu = torch.device("cpu")
    beside = ModelPatcher(torch.nn.Linear(2, 2), load_device=cpu, offload_device=cpu)
    there: list[bool] = []

    @ours.on("process_before_every_sampling")
    def add(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.add_extra_model_patcher_during_sampling(beside)
        unet.add_extra_preserved_memory_during_sampling(1000)
        p.sd_model.forge_objects.unet = unet

    ours.on("cfg_denoiser")(lambda *_: there.append(id(beside.model) in ours.card.models))
    ours.working("ram")
    assert there == [True] * 4
    room = [(len(patchers), kept) for patchers, _, kept in ours.card.loads if beside in patchers]
    assert room == [(2, 1000), (2, 1000)]


@pytest.mark.parametrize(("values", "runs"), [({"mode": "distilled"}, "distilled"), ({"switch_step": 4}, "base")])
@pytest.mark.parametrize("residency", ["ram", "8bit"])
def test_a_pass_of_one_phase_has_one_model(ours: Ours, residency: str, values: dict[str, Any], runs: str) -> None:
    """In 8 bits too the base is then its own."""
    both = ours.working("both", values)
    assert ours.working(residency, values).equals(both)
    assert {name for name, _ in ours.card.seen} == {runs}
    assert "8bit" not in unets()
    if residency == "ram":
        assert all(there == {runs} for _, there in ours.card.seen)


@contextmanager
def rounded_checkpoint(host: Host, folder: Path) -> Iterator[str]:
    """The base's file with a U-Net that went through float8 e4m3, another model to the host."""
    tensors = load_file(folder / "base.safetensors")
    for name, tensor in tensors.items():
        if name.startswith("model.diffusion_model."):
            tensors[name] = tensor.to(torch.float8_e4m3fn).to(tensor.dtype)
    made = [folder / f"rounded{suffix}" for suffix in (".safetensors", ".yaml")]
    save_file(tensors, made[0], read_header(folder / "base.safetensors").metadata)
    shutil.copy(folder / "base.yaml", made[1])
    try:
        host.client.post("/sdapi/v1/refresh-checkpoints")
        yield "rounded"
    finally:
        for path in made:
            path.unlink()
        host.client.post("/sdapi/v1/refresh-checkpoints")


@pytest.mark.parametrize("sampler", ["Euler a", "Heun", "DPM++ 2M"])
def test_8_bits_are_those_of_a_rounded_file(ours: Ours, model_folder: Path, sampler: str) -> None:
    from backend.args import dynamic_args

    request = {"sampler_name": sampler}
    plain = ours.working("both", **request)
    before = fingerprint(unets()["base"])
    stored = dynamic_args.get("forge_unet_storage_dtype")
    eight = ours.working("8bit", **request)
    unet = unets()["8bit"]
    assert {x.dtype for x in unet.parameters()} == {unet.storage_dtype} == {torch.float8_e4m3fn}
    assert unet.computation_dtype == unets()["base"].computation_dtype
    assert all(there == {"8bit", "distilled"} for _, there in ours.card.seen)
    assert {name for name, _ in ours.card.seen} == {"8bit", "distilled"}
    assert dynamic_args.get("forge_unet_storage_dtype") == stored
    assert fingerprint(unets()["base"]) == before
    assert not eight.equals(plain)
    with rounded_checkpoint(ours.host, model_folder) as name:
        by_file = ours.working("both", override_settings={"sd_model_checkpoint": name}, **request)
    assert eight.equals(by_file)


def test_8_bits_stay_between_images_with_the_request_s_networks(ours: Ours) -> None:
    plain = ours.working("8bit")
    first = unets()["8bit"]
    strong, weak = (ours.working("8bit", prompt=f"a red cat <lora:tiny:{weight}>") for weight in (0.8, 0.4))
    assert not strong.equals(plain)
    factors = {"base_lora_factor": 0.5, "distilled_lora_factor": 0.5}
    assert ours.working("8bit", factors, prompt=LORA).equals(weak)
    assert ours.working("8bit", prompt=LORA).equals(strong)
    assert ours.working("8bit").equals(plain)
    assert unets()["8bit"] is first


def test_the_base_s_factor_does_not_need_both(ours: Ours) -> None:
    values = {"base_lora_factor": 0.5}
    both = ours.working("both", values, prompt=LORA)
    assert ours.working("ram", values, prompt=LORA).equals(both)
    assert all(there == {name} for name, there in ours.card.seen)


def test_the_request_s_patches_are_carried_into_8_bits(ours: Ours) -> None:
    def fainter(args: dict[str, Any]) -> torch.Tensor:
        return args["denoised"] * 0.9

    def patched() -> Answer:
        @ours.on("process_before_every_sampling")
        def patch(p: Any, *_: Any) -> None:
            unet = p.sd_model.forge_objects.unet.clone()
            unet.set_model_sampler_post_cfg_function(fainter)
            p.sd_model.forge_objects.unet = unet

        return ours.working("8bit", {"switch_step": 3})

    plain = ours.working("8bit", {"switch_step": 3})
    changed = patched()
    assert not changed.equals(plain)
    assert ours.working("8bit", {"switch_step": 3}).equals(plain)
    assert patched().equals(changed)


def test_8_bits_are_let_go(ours: Ours) -> None:
    """When they are not asked for any more, and when the host loads another checkpoint."""
    from extension_core.hosts.forge import base_unet
    from extension_core.hosts.forge.model import RESIDENCY, watch_model_changes

    def made() -> weakref.ref[Any]:
        ours.working("8bit")
        return weakref.ref(unets()["8bit"])

    unet = made()
    ours.card.forget()
    ours.working("ram")
    gc.collect()
    assert unet() is None
    assert "8bit" not in unets()
    unet = made()
    distilled = weakref.ref(unets()["distilled"])
    watch_model_changes()
    ours.card.forget()
    ours.host.txt2img(override_settings={"sd_model_checkpoint": "other"})
    gc.collect()
    assert base_unet.KEPT_IN_8_BITS.model is None
    assert RESIDENCY.model is None
    assert unet() is None
    assert distilled() is None


def test_everything_unloaded_between_two_images(ours: Ours) -> None:
    from backend import memory_management

    for residency in ("ram", "8bit", "both"):
        first = ours.working(residency, prompt=LORA)
        memory_management.unload_all_models()
        assert not {id(unet) for name, unet in unets().items() if name != "base"} & ours.card.models.keys()
        assert ours.working(residency, prompt=LORA).equals(first)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_memory_runs_out_once(ours: Ours, call: int) -> None:
    ram = ours.working("ram")
    before = fingerprint(unets()["base"])
    ours.card.out_at = (call,)
    answer = ours.working("both", n_iter=2)
    assert np.array_equal(answer.images[-2], ram.images[0])
    assert len(ours.card.seen) == 9
    assert all(there == {"base", "distilled"} for _, there in ours.card.seen[:call])
    assert all(there == {name} for name, there in ours.card.seen[call:])
    assert fingerprint(unets()["base"]) == before
    assert "Memory ran out with both models on cpu, so now the idle model waits in RAM" in answer.infotext
    assert "else in RAM (memory on cpu ran out with both)" in ours.lives(answer)
    ours.card.out_at = ()
    assert "else in RAM (memory on cpu ran out with both)" in ours.lives(ours.working("auto"))
    assert ours.lives(ours.working("both")) == "both models on cpu"


def test_memory_runs_out_in_8_bits(ours: Ours) -> None:
    """The rest of the base's steps are made by the base itself."""
    ram, eight = ours.working("ram"), ours.working("8bit")
    unet = weakref.ref(unets()["8bit"])
    ours.card.out_at = (1,)
    assert ours.working("8bit").equals(ram)
    assert [name for name, _ in ours.card.seen] == ["8bit", "base", "base", "distilled", "distilled"]
    assert all(there == {name} for name, there in ours.card.seen[1:])
    ours.card.loads.clear()
    gc.collect()
    assert unet() is None
    ours.card.out_at = (3,)
    answer = ours.working("8bit")
    assert answer.equals(eight)
    assert "Memory ran out with base on cpu in 8 bits" in answer.infotext
    assert ours.card.seen[-1] == ("distilled", {"distilled"})
    assert "8bit" not in unets()


@pytest.mark.parametrize("residency", ["both", "8bit"])
@pytest.mark.parametrize("call", [1, 3])
def test_memory_runs_out_twice(ours: Ours, residency: str, call: int) -> None:
    plain, hybrid = ours.host.txt2img(), ours.working(residency)
    before = fingerprint(unets()["base"])
    ours.card.out_at = (call, call + 1)
    answer = ours(residency)
    assert answer.status == 422
    assert "Memory ran out while sampling (made up: out of memory)" in str(answer.body)
    ours.card.out_at = ()
    assert fingerprint(unets()["base"]) == before
    assert ours.host.txt2img().equals(plain)
    assert ours.working(residency).equals(hybrid)


def test_memory_runs_out_with_nothing_to_free(ours: Ours) -> None:
    ours.card.out_at = (3,)
    assert ours("ram").status == 422
    ours.card.out_at = (2,)
    assert ours("both", {"mode": "base", "distilled_model": ""}).status == 422


def test_on_a_cpu_there_is_nowhere_to_move_to(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    from extension_core.hosts.forge import memory

    monkeypatch.setattr(memory, "in_ram", lambda: True)
    both = ours.working("both")
    ram = ours.working("ram")
    assert ram.equals(both)
    assert ours.lives(ram) == "both models on cpu"
    ours.card.out_at = (3,)
    assert ours("both").status == 422


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is one whose free memory the host knows."""
    from extension_core.hosts.forge import memory

    monkeypatch.setattr(memory, "_MEASURED", ("cpu",))


def test_auto_goes_by_the_room_there_is(ours: Ours, engine: Any, measured: None) -> None:
    """What the host could evict counts as free, so that the second of two same requests is decided as the first."""
    working = 1.28 * 16384 * 2 * 64 * 4
    both = 2 * ours.card.size(engine.forge_objects.unet.model) + max(working, 2178 * 64 * 64 * 4)
    for capacity, placement, loaded in (
        (both / 0.95 + 10, "both models on cpu (", 2),
        (both / 0.95 - 10, "else in RAM", 1),
    ):
        ours.card.capacity = capacity
        for _ in range(2):
            answer = ours.working("auto")
            assert placement in ours.lives(answer)
            assert "0.0 GiB free on cpu" in ours.lives(answer)
            assert len(ours.card.seen[-1][1]) == loaded


def request_of(**values: Any) -> Any:
    usual = {"width": 512, "height": 512, "batch_size": 1, "hr_resize_x": 0, "hr_resize_y": 0}
    return SimpleNamespace(**{**usual, **values})


def decided(residency: str = "auto", **values: Any) -> str:
    from extension_core.hosts.forge.host import Forge

    return str(Forge().expected_placement(Path("x.safetensors"), request_of(**values), residency))


def test_the_outlook(card: Card, measured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend import memory_management

    from extension_core.hosts.forge.host import Forge

    card.capacity = 3 * GIB
    assert decided().startswith("both models on cpu (3.0 GiB free on cpu, ")
    assert "else in RAM" in decided(width=2048, height=2048)
    assert decided(enable_hr=True, hr_scale=4.0) == decided(width=2048, height=2048)
    assert "else in RAM" in decided(batch_size=16)
    assert str(Forge().expected_placement(None, request_of(), "auto")) == "both models on cpu"
    monkeypatch.setattr(memory_management, "current_inference_memory", 3 * GIB)
    assert "else in RAM" in decided()
    monkeypatch.setattr(memory_management, "vram_state", memory_management.VRAMState.LOW_VRAM)
    assert "the host keeps idle models in RAM" in decided()
    assert decided("both") == "both models on cpu"


def test_without_memory_of_its_own_both(card: Card) -> None:
    assert decided() == "both models on cpu (the processor computes in RAM)"


def test_a_base_that_is_in_8_bits_already(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.forge_objects.unet.model, "storage_dtype", torch.float8_e5m2)
    assert decided("8bit") == "both models on cpu (the checkpoint is stored in 8 bits already)"


def test_a_device_without_8_bits(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend import memory_management

    from extension_core.errors import DiversityError

    monkeypatch.setattr(memory_management, "get_torch_device", lambda: torch.device("mps"))
    with pytest.raises(DiversityError, match="'mps' does not know the number type"):
        decided("8bit")
