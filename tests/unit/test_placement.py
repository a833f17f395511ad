"""Where two models live: the decision, exchanging with RAM, and the base in 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_core.options.hybrid import BY_NAME
from extension_core.weights.eight_bit import EightBit, pack
from extension_core.weights.naming import named_parameters
from extension_core.weights.placement import Placement, Room, choose, placed, working_bytes
from extension_core.weights.second_model import SecondModel
from extension_core.weights.transfer import DirectCopies, copies_for
from tests.e2e.faults.dd_small_card import DeferredLane
from tests.unit.test_parameter_set import NAMES, PREFIX, build, merge, network, same_values, second_values, values

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

GIB = 1 << 30


def test_the_option_offers_every_placement() -> None:
    assert BY_NAME["residency"].choices == ("auto", *(placement.value for placement in Placement))


@given(
    free=st.one_of(st.none(), st.integers(0, 100 * GIB)),
    second=st.integers(0, 20 * GIB),
    working=st.integers(0, 20 * GIB),
    moved=st.booleans(),
)
def test_auto_keeps_both_only_where_they_fit(free: int | None, second: int, working: int, moved: bool) -> None:
    choice = choose("auto", Room("cuda:0", free, second, working, moved))
    assert choice.why
    if moved or (free is not None and second + working > free):
        assert choice.placement is Placement.RAM
    elif free is None or second + working < 0.9 * free:
        assert choice.placement is Placement.BOTH
    assert choice.placement is not Placement.EIGHT_BIT, "the same request is to give the same image everywhere"


@pytest.mark.parametrize("placement", Placement)
def test_a_choice_of_the_users_is_not_questioned(placement: Placement) -> None:
    choice = choose(placement.value, Room("cuda:0", 0, GIB, GIB, True))
    assert (choice.placement, choice.why) == (placement, "")
    assert "cuda:0" in str(placed(choice, "cuda:0"))


def test_what_a_request_needs_grows_with_it() -> None:
    one = working_bytes(1024, 1024, 1, 2)
    assert 2 * GIB < one < 6 * GIB
    assert working_bytes(2048, 1024, 1, 2) == 2 * one
    assert working_bytes(1024, 1024, 64, 2) > one
    assert working_bytes(1024, 1024, 1, 4) == 2 * one


def test_the_lane_of_a_cpu_leaves_pointers_to_be_exchanged() -> None:
    lane = copies_for(torch.device("cpu"))
    assert isinstance(lane, DirectCopies)
    assert not lane.serves(torch.device("cpu"))


def test_a_system_that_locks_no_pages_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here torch refuses for want of a card; the copies are then plain ones, made once."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: None)
    asked = []
    monkeypatch.setattr(torch, "empty_like", lambda *args, **kwargs: asked.append(kwargs) or refuse_to_lock())

    def refuse_to_lock() -> torch.Tensor:
        raise RuntimeError("cannot allocate page-locked memory")

    lane, values_ = copies_for(torch.device("cuda:0")), torch.arange(4.0)
    assert lane.serves(torch.device("cuda:0"))
    for _ in range(2):
        assert lane.in_ram(values_) is values_
    assert asked == [{"device": "cpu", "pin_memory": True}]


class Runner:
    """A module and its second set on a card that answers late; merges networks on call as the host does."""

    def __init__(self, same: set[str]) -> None:
        self.base = network(0)
        self.first = values(self.base)
        self.second = second_values(self.base, network(1), frozenset(same))
        self.set = build(self.base, self.second)
        self.set.keep_in_ram(DeferredLane())
        self.layer = self.base[0]

    def call(self, networks: tuple[str, ...]) -> torch.Tensor:
        """The first layer's output, with networks that add 1 each."""

        def merging(module: torch.nn.Module, _args: object) -> None:
            merge(module, float(len(networks)), networks)

        with torch.no_grad():
            handle = self.layer.register_forward_pre_hook(merging)
            try:
                return self.layer(torch.ones(1, 4))
            finally:
                handle.remove()

    def expected(self, active: bool, networks: tuple[str, ...]) -> torch.Tensor:
        of = self.second if active else self.first
        with torch.no_grad():
            weight, bias = of["0.weight"] + len(networks), of["0.bias"] + len(networks)
            return torch.nn.functional.linear(torch.ones(1, 4), weight, bias)


Step = st.tuples(st.booleans(), st.sampled_from([(), ("a",), ("a", "b")]), st.booleans())


@given(st.sets(st.sampled_from(NAMES)), st.lists(Step, min_size=1, max_size=8))
@settings(max_examples=120, deadline=None)
def test_through_ram_as_by_pointer(same: set[str], steps: list[tuple[bool, tuple[str, ...], bool]]) -> None:
    """Whoever calls a layer gets the right values, however late copies are; at the end all is as it was."""
    runner = Runner(same)
    memory = [parameter.data_ptr() for parameter in runner.base.parameters()]
    for active, networks, called in steps:
        runner.set.activate(active)
        if called:
            assert torch.allclose(runner.call(networks), runner.expected(active, networks), atol=1e-5)
    runner.call(())
    runner.set.activate(False)
    runner.call(())
    runner.set.settle()
    assert same_values(runner.base, runner.first)
    assert [parameter.data_ptr() for parameter in runner.base.parameters()] == memory, "memory of the card was taken"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["both", "ram"])), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_moved_about_between_and_within_images(steps: list[tuple[bool, str]]) -> None:
    base = network(0)
    first, second = values(base), values(network(1))
    both, lane = build(base, second), DeferredLane()
    held = both.bytes_held
    for active, where in steps:
        both.keep_in_ram(lane) if where == "ram" else both.keep_beside()
        both.activate(active)
        both.settle()
        assert same_values(base, second if active else first)
    both.activate(False)
    both.settle()
    assert same_values(base, first)
    assert both.bytes_held == held


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
@settings(max_examples=60, deadline=None)
def test_8_bits_keep_each_row_within_a_sixteenth(rows: int, columns: int, dtype: torch.dtype) -> None:
    """float8 e4m3 has 3 bits after the point: half of 1/8 of a value, and where that is finer 2^-10 of 448ths."""
    tensor = (torch.randn(rows, columns) * torch.logspace(-4, 0, rows)[:, None]).to(dtype)
    packed = pack(tensor)
    unpacked = packed.unpack(tensor)
    assert unpacked.dtype == dtype
    largest = tensor.abs().amax(1, keepdim=True).float()
    allowed = torch.maximum(tensor.abs().float() / 16, largest * 2.0**-10 / 448) * 1.02 + 1e-7
    assert ((unpacked.float() - tensor.float()).abs() <= allowed).all()
    assert packed.nbytes == tensor.numel() + 4 * rows


def test_rows_of_zeros_and_single_dimensions() -> None:
    assert pack(torch.zeros(3, 4)).unpack(torch.zeros(1)).eq(0).all()
    bias = torch.randn(5)
    assert torch.equal(pack(bias).unpack(bias), bias)


def test_a_float8_model_is_kept_as_it_is() -> None:
    """The hosts' own 8-bit modes have rounded already."""
    tensor = torch.randn(4, 4).to(torch.float8_e4m3fn)
    packed = pack(tensor)
    assert torch.equal(packed.unpack(tensor).view(torch.uint8), tensor.view(torch.uint8))
    assert packed.nbytes == 16


def eight_bit_pair(host: Callable[[torch.nn.Module], None] = id) -> tuple[torch.nn.Sequential, EightBit, SecondModel]:
    base = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3))
    other = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3))
    second = SecondModel(build(base, values(other)), None)
    named = list(named_parameters(base, PREFIX))
    second.place(Placement.EIGHT_BIT, DeferredLane(), named, host)
    assert second.base is not None
    return base, second.base, second


def test_the_base_in_8_bits_runs_in_the_place_of_the_other_set() -> None:
    base, in_8_bits, second = eight_bit_pair()
    before, given_ = values(base), torch.randn(5, 4)
    rounded = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for (name, value), parameter in zip(before.items(), rounded.parameters(), strict=True):
            del name
            parameter.copy_(pack(value).unpack(value))
        own, wanted = base(given_), rounded(given_)
        second.unet.activate(True)
        distilled = base(given_)
        with in_8_bits.active():
            assert torch.equal(base(given_), wanted)
            assert torch.equal(base(given_), wanted), "a second call is as the first"
        assert torch.equal(base(given_), distilled)
    assert 0 < (wanted - own).abs().max() < 0.2
    second.restore()
    assert same_values(base, before)


def test_a_second_model_that_is_the_base_is_the_one_in_8_bits() -> None:
    """The host's own set stays in, and the copy is of the other; turned round again it is the host's."""
    base, of_host, second = eight_bit_pair()
    named = list(named_parameters(base, PREFIX))
    before, given_ = values(base), torch.randn(5, 4)
    second.restore()
    second.place(Placement.EIGHT_BIT, DeferredLane(), named, makes_base=True)
    assert second.base is not None
    assert second.base is not of_host
    assert same_values(base, before)
    second.unet.activate(True)
    second.unet.settle()
    other = values(base)
    second.restore()
    rounded = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for value, parameter in zip(other.values(), rounded.parameters(), strict=True):
            parameter.copy_(pack(value).unpack(value))
        distilled = base(given_)
        with second.base.active():
            assert torch.equal(base(given_), rounded(given_))
        assert torch.equal(base(given_), distilled)
    kept = second.base
    second.place(Placement.EIGHT_BIT, DeferredLane(), named, makes_base=True)
    assert second.base is kept
    second.place(Placement.EIGHT_BIT, DeferredLane(), named)
    assert second.base is not kept
    assert same_values(base, before)


def test_a_failing_layer_leaves_nothing_of_the_8_bits_behind() -> None:
    base, in_8_bits, second = eight_bit_pair()
    before = values(base)
    second.unet.activate(True)
    second.unet.settle()
    distilled = values(base)
    with in_8_bits.active(), pytest.raises(RuntimeError):
        base(torch.randn(5, 7))
    assert same_values(base, distilled)
    second.restore()
    assert same_values(base, before)


def test_networks_are_merged_into_the_8_bits_once() -> None:
    merged, made = [], []

    def merging(module: torch.nn.Module) -> None:
        if module is base[0] and getattr(module, "network_current_names", ()) != ("a",):
            merged.append(module)
            merge(module, 0.5, ("a",))

    base, in_8_bits, second = eight_bit_pair(merging)
    before = values(base)
    weight = pack(pack(before["0.weight"]).unpack(before["0.weight"]) + 0.5)
    expected = weight.unpack(before["0.weight"]).sum(1)
    second.unet.activate(True)
    for _ in range(3):
        with in_8_bits.active(), torch.no_grad():
            made.append(base[0](torch.ones(1, 4)) - base[0](torch.zeros(1, 4)))
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[1], made[2])
    assert torch.allclose(made[0][0], expected, atol=1e-5)
    assert len(merged) == 1
    second.restore()
    assert same_values(base, before)
    assert not hasattr(base[0], "network_current_names")
