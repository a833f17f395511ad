"""Two sets of parameters under one module: exchange, sharing, and the host's network bookkeeping."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights import parameter_set
from extension_core.weights.naming import named_parameters
from extension_core.weights.reader import read_header
from extension_core.weights.residency import Residency, drop_all
from extension_core.weights.second_model import SecondModel, load_second_model

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

PREFIX = "model.diffusion_model."


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Conv1d(6, 6, 1), torch.nn.MultiheadAttention(6, 2)
    )


def values(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def second_values(base: torch.nn.Module, other: torch.nn.Module, same: frozenset[str]) -> dict[str, torch.Tensor]:
    mine, theirs = values(base), values(other)
    return {name: mine[name] if name in same else theirs[name] for name in mine}


def build(base: torch.nn.Module, second: dict[str, torch.Tensor]) -> parameter_set.ParameterSet:
    prefixed = {PREFIX + name: tensor.clone() for name, tensor in second.items()}
    return parameter_set.build(named_parameters(base, PREFIX), prefixed.get)


def same_values(module: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in values(module).items())


NAMES = tuple(dict(network(0).named_parameters()))


@given(st.sets(st.sampled_from(NAMES)), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_exchange_puts_the_second_set_in_and_takes_it_out(same: set[str], times: int) -> None:
    base = network(0)
    first, second = values(base), second_values(base, network(1), frozenset(same))
    differing = {name for name in NAMES if not torch.equal(first[name], second[name])}
    both = build(base, second)
    assert len(both) == len(differing)
    assert both.bytes_held == sum(first[name].numel() * 4 for name in differing)
    for _ in range(times):
        both.activate(True)
        assert same_values(base, second)
        both.activate(False)
        assert same_values(base, first)


def merge(layer: torch.nn.Module, delta: float, names: tuple[str, ...]) -> None:
    """What A1111's Lora does to a layer: restore from backup, else make one; then write in place."""
    if getattr(layer, "network_current_names", ()) == names:
        return
    for attribute, field in (("network_weights_backup", "weight"), ("network_bias_backup", "bias")):
        backup = getattr(layer, attribute, None)
        parameter = getattr(layer, field).data
        if backup is None:
            setattr(layer, attribute, parameter.clone())
        else:
            parameter.copy_(backup)
        if names:
            parameter.add_(delta)
    layer.network_current_names = names


@given(st.sets(st.sampled_from(["0.weight", "0.bias"])), st.lists(st.sampled_from("xmu"), max_size=12))
@settings(max_examples=200, deadline=None)
def test_networks_merged_into_either_set_are_never_applied_twice(same: set[str], events: list[str]) -> None:
    """x: exchange; m: the host's next forward with a network; u: without. Each set must equal its own file + network.

    The network changes bias as well as weight, the case in which a shared tensor must part.
    """
    base = network(0)
    layer = base[0]
    first, second = values(base), second_values(base, network(1), frozenset(same))
    both = build(base, second)
    wanted: tuple[str, ...] = ()
    for event in events:
        if event == "x":
            both.exchange()
        else:
            wanted = ("net",) if event == "m" else ()
        merge(layer, 0.5, wanted)  # a forward follows every event
        clean = second if both.active else first
        for field in ("weight", "bias"):
            expected = clean[f"0.{field}"] + (0.5 if wanted else 0.0)
            assert torch.equal(getattr(layer, field).data, expected)
    both.activate(False)
    merge(layer, 0.5, ())
    assert same_values(base, first)


def test_second_set_is_compared_with_the_clean_base_when_a_network_is_merged() -> None:
    base = network(0)
    first = values(base)
    merge(base[0], 0.5, ("net",))
    assert len(build(base, first)) == 0


def test_names_of_wrapped_modules_are_those_of_files() -> None:
    class Wrapper(torch.nn.Module):
        def __init__(self, wrapped: torch.nn.Module) -> None:
            super().__init__()
            self.wrapped = wrapped

    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), Wrapper(torch.nn.Linear(2, 2)))
    names = {item.name for item in named_parameters(Wrapper(inner), "cond_stage_model.")}
    assert names == {f"cond_stage_model.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")}


def test_exchange_is_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory runs out while tensors are brought to the device, nothing has been swapped."""
    base = network(0)
    first, second = values(base), values(network(1))
    both = build(base, second)
    calls = 0

    def fail_late(_self: parameter_set.Slot, _bus: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise torch.cuda.OutOfMemoryError("no memory")

    monkeypatch.setattr(parameter_set.Slot, "prepare", fail_late)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        both.activate(True)
    assert same_values(base, first)
    assert not both.active


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "second.safetensors"
    save_file({PREFIX + name: tensor.half() for name, tensor in values(network(1)).items()}, path)
    return path


def test_loaded_file_is_cast_to_the_hosts_precision(file: Path) -> None:
    base = network(0)
    second = load_second_model(read_header(file), list(named_parameters(base, PREFIX)), [])
    second.unet.activate(True)
    assert same_values(base, {name: tensor.half().float() for name, tensor in values(network(1)).items()})
    second.restore()
    assert same_values(base, values(network(0)))
    assert second.text is None


def test_a_file_replaced_after_loading_changes_nothing(file: Path) -> None:
    base = network(0).half()
    second = load_second_model(read_header(file), list(named_parameters(base, PREFIX)), [])
    file.write_bytes(b"\0" * file.stat().st_size)
    second.unet.activate(True)
    assert same_values(base, {name: tensor.half() for name, tensor in values(network(1)).items()})


def test_residency_keeps_one_model_and_restores_before_letting_go(file: Path) -> None:
    base = network(0)
    first = values(base)
    residency, loads = Residency(), []

    def load() -> SecondModel:
        loads.append(1)
        return load_second_model(read_header(file), list(named_parameters(base, PREFIX)), [])

    resident = residency.get("a", load)
    assert residency.get("a", load) is resident
    resident.unet.activate(True)
    residency.get("b", load)
    assert len(loads) == 2
    assert same_values(base, first)
    with pytest.raises(DiversityError):
        residency.get("c", lambda: load_second_model(read_header(file.with_name("gone.safetensors")), [], []))
    assert residency.model is None


@pytest.mark.parametrize("drop", [Residency.drop, lambda _: drop_all()], ids=["its own", "all, before an update"])
def test_a_dropped_model_is_freed_whoever_still_refers_to_it(file: Path, drop: Callable[[Any], None]) -> None:
    """Without a collection of cycles: those of finished requests hold it."""
    base = network(0)
    residency = Residency()
    resident = residency.get(
        "a", lambda: load_second_model(read_header(file), list(named_parameters(base, PREFIX)), [])
    )
    layers = [weakref.ref(layer) for layer in resident.unet._layers]
    resident.unet.activate(True)
    drop(residency)
    assert layers
    assert {layer() for layer in layers} == {None}
    assert same_values(base, values(network(0)))


def test_moved_modules_get_the_second_set_where_they_are() -> None:
    """medvram moves modules between requests; the meta device stands in for another one."""
    base = copy.deepcopy(network(0))
    both = build(base, values(network(1)))
    base.to("meta")
    both.activate(True)
    assert all(parameter.device.type == "meta" for parameter in base.parameters())
