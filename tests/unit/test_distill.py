"""The trainer: samplers against diffusers, its pieces against what they promise, and whole tiny runs."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, LCMScheduler
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from embedded.distill import base, data, evaluate, export, sampling, student, text, vae
from embedded.distill.loop import EMA, Progress, cosine_rate, make_optimizer
from embedded.distill.recipe import BaseTraining, Networks, Recipe, StudentTraining, TextTraining, VAETraining
from embedded.distill.run import Run
from embedded.distill.tokenizer import learn_merges, write_tokenizer
from embedded.monsters import ATTRIBUTES, VOCABULARY
from embedded.networks import AutoencoderKL, load_checkpoint

pytestmark = pytest.mark.once

SMALL = Networks(unet_channels=32, text_width=64, text_heads=2)
TINY = Recipe(
    pictures=12,
    captions=2,
    networks=SMALL,
    vae=VAETraining(updates=3, batch=4),
    text=TextTraining(updates=2, batch=4),
    base=BaseTraining(updates=4, batch=4, warmup=1),
    student=StudentTraining(updates=3, batch=2, fake_updates=1, fake_warmup=1),
)
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def linear_model(x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """A made-up denoiser that depends on all it is given."""
    return 0.7 * x + 1e-4 * timesteps[:, None, None, None] + context.mean()


def test_every_word_is_one_token(tmp_path: Path) -> None:
    size = write_tokenizer(tmp_path, VOCABULARY)
    tokenizer = CLIPTokenizer.from_pretrained(str(tmp_path))
    assert len(tokenizer) == size
    for word in VOCABULARY:
        assert tokenizer.tokenize(word) == [word + "</w>"]
    unknown = tokenizer("Zürich (1:2)", add_special_tokens=False).input_ids
    assert tokenizer.eos_token_id not in unknown
    assert learn_merges(["ab", "abc"]) == learn_merges(["abc", "ab"])


def test_lcm_steps_equal_diffusers() -> None:
    scheduler = LCMScheduler(**SCHEDULE)
    scheduler.set_timesteps(4)
    assert tuple(scheduler.timesteps.tolist()) == evaluate.TIMESTEPS == StudentTraining().timesteps
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(2, 4, 8, 8, generator=generator)
    fresh = [torch.randn(start.shape, generator=generator) for _ in range(4)]
    context = torch.ones(2, 3, 4) * 0.1
    ours = sampling.run_steps(
        evaluate.four_steps(0, True, True)(linear_model, linear_model), start, context, context, fresh
    )
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(start.shape, generator=generator)
    for timestep in scheduler.timesteps:
        eps = linear_model(x, timestep.expand(2), context)
        x, denoised = scheduler.step(eps, timestep, x, generator=generator, return_dict=False)
    torch.testing.assert_close(ours, denoised, rtol=1e-4, atol=1e-4)


def test_base_steps_equal_diffusers_ddim() -> None:
    scheduler = DDIMScheduler(**SCHEDULE, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=False)
    scheduler.set_timesteps(10)
    x = start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    context = torch.ones(2, 3, 4) * 0.1
    steps = sampling.base_steps(linear_model, 10, 1.0)
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()
    ours = sampling.run_steps(steps, start, context, context, [start] * 10)
    for timestep in scheduler.timesteps:
        x = scheduler.step(linear_model(x, timestep.expand(2), context), timestep, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


def test_guidance_extrapolates_and_skips_the_unconditional_half() -> None:
    calls: list[int] = []

    def counting(x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return context.mean(dim=(1, 2))[:, None, None, None].expand_as(x)

    x, timesteps = torch.zeros(2, 4, 8, 8), torch.tensor([5, 5])
    cond, uncond = torch.full((2, 1, 1), 2.0), torch.full((2, 1, 1), 1.0)
    assert torch.all(sampling.guided(counting, x, timesteps, cond, uncond, 3.0) == 4.0)
    assert torch.all(sampling.guided(counting, x, timesteps, cond, uncond, 1.0) == 2.0)
    assert calls == [4, 2]


def test_normalised_latents_decode_to_the_same_pictures() -> None:
    torch.manual_seed(0)
    network = AutoencoderKL(SMALL.vae_params(), 4).eval()
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        latents, logvar = network.encode(images)
        decoded = network.decode(latents)
        scaled = base.normalise_latents(network, latents)
        again, logvar_again = network.encode(images)
        torch.testing.assert_close(again * base.SCALE_FACTOR, scaled, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.decode(again), decoded, rtol=1e-4, atol=1e-4)
    gain = (again.std(dim=(0, 2, 3)) / latents.std(dim=(0, 2, 3))).log() * 2
    torch.testing.assert_close((logvar_again - logvar).mean(dim=(0, 2, 3)), gain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3)), torch.ones(4), rtol=1e-4, atol=1e-4)


def test_matching_gradient_points_from_fake_to_real() -> None:
    x0, real, fake = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -0.5)
    assert torch.allclose(student.matching_gradient(x0, real, fake), torch.full((1, 1, 2, 2), -2.0))
    assert torch.isfinite(student.matching_gradient(x0, x0, fake)).all()


def test_losses_vanish_where_nothing_differs() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert vae.edge_loss(picture, picture) == 0 < vae.edge_loss(picture, picture.flip(-1))
    assert vae.kl_loss(torch.zeros(2), torch.zeros(2)) == 0 < vae.kl_loss(torch.ones(2), torch.ones(2))


def test_average_and_rate() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = EMA(layer, 0.5)
    before = average.values["weight"].clone()
    with torch.no_grad():
        layer.weight += 1
    average.update(layer, step=1000)
    torch.testing.assert_close(average.values["weight"], before + 0.5)
    rates = [cosine_rate(1.0, step, 100, warmup=10) for step in range(100)]
    assert (rates[0], max(rates)) == (0.1, 1.0)
    assert rates[-1] < 0.03


def test_pictures_round_trip() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    assert np.array_equal(data.to_uint8(data.to_float(images)), images)


class Stopped(RuntimeError):
    """Stands for a kill in the middle of a stage."""


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = export.build_model(SMALL, tmp_path)
    latents = torch.randn(6, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    tokens = model.cond_stage_model.tokenize(["a monster", "a red monster"] * 3).reshape(6, 1, 77).to(torch.int16)
    torch.manual_seed(0)
    start = copy.deepcopy(model)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = copy.deepcopy(start)
    base.train_base(TINY, whole, latents, tokens, tmp_path / "whole")

    save = Progress.save
    monkeypatch.setattr(Progress, "due", lambda self: True)

    def save_then_stop(self: Progress, state: dict) -> None:
        save(self, state)
        if state["step"] == 2:
            raise Stopped

    resumed = copy.deepcopy(start)
    monkeypatch.setattr(Progress, "save", save_then_stop)
    with pytest.raises(Stopped):
        base.train_base(TINY, resumed, latents, tokens, tmp_path / "stopped")
    monkeypatch.setattr(Progress, "save", save)
    resumed = copy.deepcopy(start)
    base.train_base(TINY, resumed, latents, tokens, tmp_path / "stopped")
    for (name, first), second in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0, msg=name)


def test_text_encoder_learns_what_captions_mention(tmp_path: Path) -> None:
    model = export.build_model(SMALL, tmp_path)
    words = [[f"a {colour} monster" for colour in ("red", "yellow", "green", "blue", "purple", "pink")]]
    tokens = data.tokenize_captions(words, model.cond_stage_model)
    assert text.mentions(words)[0, :, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert text.mentions([["a monster"]])[0, 0].tolist() == [len(labels) for labels in ATTRIBUTES.values()]
    recipe = replace(TINY, text=TextTraining(updates=150, batch=6, rate=3e-3))
    text.train_text(recipe, model.cond_stage_model, words, tokens, tmp_path)
    lines = (tmp_path / "text.log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["right"] > 0.97


def test_student_moves_towards_a_guided_teacher(tmp_path: Path) -> None:
    """The student's parameters change, the teacher's do not, and the fake model learns the student's output."""
    model = export.build_model(SMALL, tmp_path)
    teacher = model.model.diffusion_model
    before = copy.deepcopy(teacher.state_dict())
    trainer = student.Trainer(TINY.student, teacher, model.cond_stage_model([""]).detach())
    context = model.cond_stage_model(["a monster", "a red monster"]).detach()
    for step in range(3):
        logged = trainer.update(step, context, (4, 16, 16), torch.Generator().manual_seed(step))
    assert {"match", "fake", "spread"} <= set(logged)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert any(not torch.equal(before[name], value) for name, value in trainer.student.state_dict().items())
    other = student.Trainer(TINY.student, teacher, trainer.uncond)
    other.load({**trainer.state(3)})  # type: ignore[dict-item]
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.fake.state_dict().values(), trainer.fake.state_dict().values(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.once
def test_a_whole_run_writes_a_pair_that_installs_and_measures(tmp_path: Path) -> None:
    written = Run(TINY, tmp_path / "run").train("all")
    assert [path.stem for path in written] == list(export.PAIR_NAMES)
    whole, unet = (load_file(str(path)) for path in written)
    assert set(unet) == {name for name in whole if name.startswith(export.UNET_PREFIX)}
    assert not all(torch.equal(value, whole[name]) for name, value in unet.items())
    assert {value.dtype for value in whole.values()} == {torch.float16, torch.int64}

    webui = tmp_path / "webui"
    with pytest.raises(FileNotFoundError, match="started once"):
        export.install_pair(webui, written[0].parent)
    (webui / "models" / "Stable-diffusion").mkdir(parents=True)
    installed = export.install_pair(webui, written[0].parent)
    config = yaml.safe_load(installed[0].with_suffix(".yaml").read_text(encoding="utf-8"))
    assert Path(config["model"]["params"]["cond_stage_config"]["params"]["version"]).is_absolute()
    prompts = ["a red monster"]
    with torch.no_grad():
        contexts = [load_checkpoint(path).cond_stage_model(prompts) for path in (written[0], *installed)]
    assert all(torch.equal(contexts[0], context) for context in contexts[1:])

    names = ("base", "distilled", "hybrid k=1, LCM throughout")
    evaluate.evaluate_pair(written[0].parent, tmp_path / "measured", count=2, names=names)
    results = json.loads((tmp_path / "measured" / "results.json").read_text(encoding="utf-8"))["results"]
    assert set(results) == set(names)


def test_vae_training_improves_and_its_optimizer_is_plain(tmp_path: Path) -> None:
    recipe = replace(TINY, vae=VAETraining(updates=12, batch=4))
    pictures = data.draw_pictures(tmp_path, 12, 0)
    trained = vae.train_vae(recipe, pictures, tmp_path)
    images = data.to_float(np.asarray(pictures.images[:4]))
    with torch.no_grad():
        after = (trained(images) - images).abs().mean()
        start = (vae.build_vae(recipe)(images) - images).abs().mean()
    assert after < start
    assert isinstance(make_optimizer(trained.parameters(), 1e-3), torch.optim.AdamW)
