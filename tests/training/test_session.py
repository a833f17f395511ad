"""Whole trainings of a small checkpoint: what they write, and that nothing is lost however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.families import detect_family, grid_for
from extension_core.sampling.schedule import NoiseSchedule, family_levels
from extension_core.training.__main__ import main
from extension_core.training.networks.checkpoint import open_checkpoint
from extension_core.training.networks.unet import as_network
from extension_core.training.run.folder import RunFolder
from extension_core.training.run.session import train
from extension_core.weights.file_facts import facts_of
from extension_core.weights.kinds_of_file import is_lora_file
from extension_core.weights.layouts import UNET_PREFIX
from extension_core.weights.lora_file import lora_tensors, read_lora
from extension_core.weights.reader import read_header
from tests.training.numbers import drawn
from tests.training.small import make_base, make_pictures, write_config
from tests.waiting import until

posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With checkpoint and pictures."""
    made = tmp_path_factory.mktemp("training")
    make_base(made)
    make_pictures(made / "pictures")
    return made


def losses(folder: Path, out: str) -> list[dict[str, float]]:
    return RunFolder(folder / out).losses()


def metadata(path: Path) -> dict[str, str]:
    opened: Any = safe_open(path, framework="pt")
    with opened:
        return opened.metadata()


@pytest.mark.parametrize("kind", ["lora", "unet"])
@pytest.mark.parametrize(
    ("method", "family", "timesteps"),
    [
        ("lcm", "lcm", (999, 499)),
        ("pd", "pd", (999, 499)),
        ("dmd2", "dmd2", (999, 499)),
        ("dp-dmd", "dmd2", (999, 499)),
    ],
)
def test_the_accordion_knows_what_was_trained(
    folder: Path, method: str, family: str, timesteps: tuple[int, ...], kind: str
) -> None:
    """Its `auto` samples a file of ours at exactly the timesteps of its training, whatever the file is called."""
    out = f"lightning_8step-{method}-{kind}"
    ended = train(write_config(folder, out, method, kind))
    assert (ended.ending, ended.signal) == ("finished", None)
    assert len(losses(folder, out)) == 4
    assert is_lora_file(ended.file) == (kind == "lora")
    facts = facts_of(read_header(ended.file))
    assert (facts.kind, facts.problem) == (kind, "")
    found = detect_family(ended.file.stem, metadata(ended.file))
    assert (found.family.name, found.steps) == (family, len(timesteps))
    levels = family_levels(grid_for(found, Options()), 2, NoiseSchedule.stable_diffusion(), "timestep")
    assert levels == (*timesteps, 0)


def test_the_lora_is_what_peft_has_trained(folder: Path) -> None:
    """Read by the extension's own reader and added to the checkpoint's tensors, it gives the trained U-Net's output."""
    from extension_core.training.networks.lora import add_lora

    ended = train(write_config(folder, "lora", more="learning_rate = 0.01"))
    checkpoint = open_checkpoint(folder / "base.safetensors")
    state = RunFolder(folder / "lora").load()
    assert state is not None
    student = checkpoint.unet()
    add_lora(student, 2, 4, seed=0)
    student.load_state_dict(state[0]["networks"]["student"], strict=False)
    tensors = load_file(folder / "base.safetensors")
    names = [name for name in tensors if name.startswith(UNET_PREFIX)]
    changed = 0
    parts = lora_tensors(read_lora(read_header(ended.file), names))
    from embedded.networks.checkpoint import load_checkpoint

    stage = load_checkpoint(folder / "base.safetensors")
    parameters = dict(stage.named_parameters())
    by_place = {
        f"lora_unet_{name.removeprefix(UNET_PREFIX).removesuffix('.weight').replace('.', '_')}": name for name in names
    }
    with torch.no_grad():
        for key in [key for key in parts if key.endswith(".lora_up.weight")]:
            place = key.removesuffix(".lora_up.weight")
            up, down = parts[key].float(), parts[f"{place}.lora_down.weight"].float()
            weight = parameters[by_place[place]]
            delta = (up.flatten(1) @ down.flatten(1)).view(weight.shape)
            weight += float(parts[f"{place}.alpha"]) / down.shape[0] * delta
            changed += bool(delta.abs().max() > 0)
    z, timesteps, told = drawn(2, 4, 8, 8), torch.tensor([499, 999]), {"prompt_embeds": drawn(2, 77, 64, seed=3)}
    with torch.no_grad():
        ours = stage.model(z, timesteps, told["prompt_embeds"])
        theirs = as_network(student)(z, timesteps, told)
        plain = as_network(checkpoint.unet())(z, timesteps, told)
    assert changed > 20
    assert torch.allclose(ours, theirs, atol=3e-3, rtol=1e-2)
    assert (theirs - plain).abs().max() > 0.05


def test_the_unet_is_what_was_trained(folder: Path) -> None:
    ended = train(write_config(folder, "unet", kind="unet", more="learning_rate = 0.001"))
    state = RunFolder(folder / "unet").load()
    assert state is not None
    trained = state[0]["networks"]["student"]
    written = load_file(ended.file)
    base = load_file(folder / "base.safetensors")
    assert set(written) == {name for name in base if name.startswith(UNET_PREFIX)}
    assert sum(value.numel() for value in trained.values()) == sum(value.numel() for value in written.values())
    assert torch.allclose(written[f"{UNET_PREFIX}out.2.weight"].float(), trained["conv_out.weight"], atol=1e-3)
    assert not torch.equal(written[f"{UNET_PREFIX}out.2.weight"], base[f"{UNET_PREFIX}out.2.weight"])


MIXED = "[states.priors]\nforward = 0.4\nteacher = 0.3\nstudent = 0.3\n[threshold]\nkind = 'static'\n"


@pytest.mark.parametrize(("method", "kind"), [("lcm", "unet"), ("dmd2", "lora"), ("pd", "lora")])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    folder: Path, method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, also from one halving to the next and with states that wait in buffers."""
    names = [f"{name}-{method}" for name in ("whole", "broken")]
    whole, broken = (write_config(folder, name, method, kind, 2, 6, 100, MIXED) for name in names)
    train(whole)
    for stop_at in (1, 3, 4):
        with monkeypatch.context() as patched:
            stops_after(patched, stop_at)
            assert train(broken).ending == "stopped"
        assert len(losses(folder, names[1])) == stop_at
        (folder / names[1] / "stop").unlink()
    assert train(broken).ending == "finished"
    assert losses(folder, names[0]) == losses(folder, names[1])
    files = [load_file(folder / name / f"{name}.safetensors") for name in names]
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])


def test_a_run_that_died_between_two_halvings_goes_on_as_if_it_had_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved then is the last state of the first halving, and the second one's teacher is its student."""
    whole, broken = (write_config(folder, name, "pd", "lora", 2, 6, 3) for name in ("whole-halvings", "dead-halvings"))
    train(whole)
    log = RunFolder.log

    def dies(run: RunFolder, update: int, told: dict[str, float]) -> None:
        if update == 3:
            raise KeyboardInterrupt
        log(run, update, told)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "log", dies)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    state = RunFolder(folder / "dead-halvings").load()
    assert state is not None
    assert (state[0]["update"], state[0]["stage"]) == (3, 0)
    assert train(broken).ending == "finished"
    assert losses(folder, "dead-halvings") == losses(folder, "whole-halvings")
    files = [load_file(folder / name / f"{name}.safetensors") for name in ("whole-halvings", "dead-halvings")]
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    with pytest.raises(DiversityError, match=r"another configuration \(course differ\)"):
        train(write_config(folder, "dead-halvings", "pd", "lora", 2, 8, 3))


def test_prompts_alone_are_enough_for_matching(folder: Path) -> None:
    (folder / "prompts.txt").write_text("a red cat\na blue dog\n")
    config = write_config(folder, "prompts", "dmd2")
    text = config.read_text().replace('pictures = "pictures"', 'prompts = "prompts.txt"')
    config.write_text(text.replace("first_halving = 4", "adversary = false"))
    assert train(config).ending == "finished"
    assert len(losses(folder, "prompts")) == 4


def test_a_precision_that_the_machine_has_not_is_told(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("it has it")
    with pytest.raises(DiversityError, match=r'precision is "fp16", which this machine does not have; take "no"'):
        train(write_config(folder, "half", more='precision = "fp16"'))


def stops_after(patched: pytest.MonkeyPatch, updates: int) -> None:
    """Somebody puts a file called stop into the run's folder once so many updates are made."""
    log = RunFolder.log

    def logged(run: RunFolder, update: int, told: dict[str, float]) -> None:
        log(run, update, told)
        if update + 1 == updates:
            (run.path / "stop").touch()

    patched.setattr(RunFolder, "log", logged)


def start(config: Path) -> subprocess.Popen[str]:
    """As `run.py train` does, in a process of its own."""
    command = [sys.executable, "-m", "extension_core.training", str(config)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True, cwd=Path(__file__).parents[2])


def wait_for_updates(folder: Path, out: str, count: int) -> None:
    until(lambda: len(losses(folder, out)) >= count, f"{count} updates of {out}")


@posix
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_saves_and_leaves_and_a_kill_loses_little(folder: Path, sent: signal.Signals) -> None:
    out = f"sent-{sent.name}"
    config = write_config(folder, out, updates=400, save_every=5)
    process = start(config)
    wait_for_updates(folder, out, 7)
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == (-sent if sent == signal.SIGKILL else 128 + sent)
    assert "Traceback" not in said
    before = losses(folder, out)
    state = RunFolder(folder / out).load()
    assert state is not None
    kept = state[0]["update"]
    assert kept == (len(before) if sent != signal.SIGKILL else len(before) // 5 * 5)
    assert train(write_config(folder, out, updates=kept + 2, save_every=5)).ending == "finished"
    again = losses(folder, out)
    assert again[:kept] == before[:kept]
    assert len(again) == kept + 2
    status = json.loads((folder / out / "status.json").read_text())
    assert (status["state"], status["update"]) == ("finished", kept + 2)


def test_a_paused_run_waits_and_goes_on(folder: Path) -> None:
    config = write_config(folder, "paused", updates=30, save_every=100)
    process = start(config)
    wait_for_updates(folder, "paused", 3)
    (folder / "paused" / "pause").touch()
    status = folder / "paused" / "status.json"
    until(lambda: json.loads(status.read_text())["state"] == "paused", "the pause")
    made = len(losses(folder, "paused"))
    state = RunFolder(folder / "paused").load()
    assert state is not None
    assert state[0]["update"] == made
    (folder / "paused" / "pause").unlink()
    assert process.wait() == 0
    assert len(losses(folder, "paused")) == 30


def test_a_loss_that_is_no_number_ends_in_a_sentence_and_the_last_state_is_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(folder, "wild", kind="unet", updates=8, save_every=1, more="learning_rate = 1e30")
    assert main([str(config)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("train: The loss of the student is ")
    assert said.endswith("lower the learning rate and resume from the last checkpoint.")
    status = json.loads((folder / "wild" / "status.json").read_text())
    assert (status["state"], status["sentence"]) == ("failed", said.removeprefix("train: "))
    state = RunFolder(folder / "wild").load()
    assert state is not None
    assert state[0]["update"] == len(losses(folder, "wild"))


def test_another_configuration_is_no_continuation(folder: Path) -> None:
    train(write_config(folder, "settled"))
    assert train(write_config(folder, "settled", updates=6)).ending == "finished"
    with pytest.raises(DiversityError, match=r"holds a run of another configuration \(method differ\); name another"):
        train(write_config(folder, "settled", method="dmd2"))


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [
        (lambda made: (made / "pictures" / "1.png").write_bytes(b"GIF89a"), "The picture 1.png cannot be read"),
        (lambda made: (made / "pictures" / "1.txt").unlink(), "The picture 1.png has no caption (no 1.txt beside it)"),
        (lambda made: (made / "base.safetensors").unlink(), "base.safetensors"),
        (lambda made: (made / "base.safetensors").write_bytes(b"<!DOCTYPE html>"), "base.safetensors"),
    ],
)
def test_what_is_broken_is_told_before_the_first_update(
    tmp_path: Path, breaks: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_base(tmp_path)
    make_pictures(tmp_path / "pictures")
    breaks(tmp_path)
    assert main([str(write_config(tmp_path, "out"))]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("train: ")
    assert sentence in said
    assert not (tmp_path / "out" / "losses.jsonl").exists() or not losses(tmp_path, "out")
