"""The configuration file: what is taken, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from extension_core.errors import DiversityError
from extension_core.training.run.config import Config, read_config

SMALL = """
out = "runs/mine"
[base]
checkpoint = "models/base.safetensors"
[data]
pictures = "/pictures"
[method]
name = "lcm"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> Config:
    return read_config(written(folder, text))


def test_paths_begin_at_the_files_folder(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL)
    assert config.out == tmp_path / "runs/mine"
    assert config.base.checkpoint == tmp_path / "models/base.safetensors"
    assert config.data.pictures == Path("/pictures")


@pytest.mark.parametrize(
    ("name", "kind", "rate", "priors"),
    [
        ("lcm", "lora", 1e-4, (1, 0, 0)),
        ("lcm", "unet", 1e-6, (1, 0, 0)),
        ("pd", "unet", 5e-5, (1, 0, 0)),
        ("dmd2", "lora", 5e-5, (0, 0, 1)),
        ("dmd2", "unet", 5e-7, (0, 0, 1)),
        ("dp-dmd", "unet", 1e-5, (0, 0, 1)),
    ],
)
def test_what_is_left_out_is_the_authors(
    tmp_path: Path, name: str, kind: str, rate: float, priors: tuple[float, ...]
) -> None:
    config = read(tmp_path, SMALL.replace('"lcm"', f'"{name}"') + f'[student]\nkind = "{kind}"\n')
    assert config.learning_rate == rate
    assert (config.priors.forward, config.priors.teacher, config.priors.student) == priors


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ("", ""),
        ("[course]\nupdate = 3", "train.toml has course.update, which the trainer does not know; take it out or"),
        ("[course]\nupdates = 0", "train.toml: course.updates is 0; input should be greater than or equal to 1."),
        ('[course]\nbatch = "four"', "train.toml: course.batch is 'four'; input should be a valid integer"),
        (
            '[course]\nprecision = "fp8"',
            "train.toml: course.precision is 'fp8'; input should be 'no', 'fp16' or 'bf16'.",
        ),
        ("[states.priors]\nforward = 0", "states.priors has no prior above 0; give forward, teacher or student one."),
        ("[states.priors]\nforward = -1", "states.priors.forward is -1; input should be greater than or equal to 0."),
        ("[threshold]\nquantile = 0.2", "threshold.quantile is 0.2; input should be greater than 0.5."),
    ],
)
def test_the_first_fault_is_told_in_one_sentence(tmp_path: Path, added: str, sentence: str) -> None:
    path = written(tmp_path, SMALL + added)
    if not sentence:
        read_config(path)
        return
    with pytest.raises(DiversityError) as caught:
        read_config(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ('name = "lcm"\ntimesteps = [999, 759]', "method has timesteps [999, 759]; give 4 of them, falling"),
        ('name = "lcm"\nsteps = 2\ntimesteps = [499, 999]', "method has timesteps [499, 999]; give 2 of them, falling"),
        ('name = "pd"\nsteps = 5', "method cannot come from 32 to 5 steps by halving; give first_halving 5, 10, 20"),
        ('name = "dmd3"', "method.name is 'dmd3'; input should be 'pd', 'lcm', 'dmd2' or 'dp-dmd'."),
        ("steps = 4", "train.toml has no method.name; add it."),
    ],
)
def test_methods_are_checked(tmp_path: Path, method: str, sentence: str) -> None:
    with pytest.raises(DiversityError) as caught:
        read(tmp_path, SMALL.replace('name = "lcm"', method))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("data", ["", 'pictures = "a"\nprompts = "b"'])
def test_there_is_one_source_of_data(tmp_path: Path, data: str) -> None:
    with pytest.raises(DiversityError, match=r"data names (no source|pictures, prompts); give one of pictures, shards"):
        read(tmp_path, SMALL.replace('pictures = "/pictures"', data))


PROMPTS = SMALL.replace('pictures = "/pictures"', 'prompts = "prompts.txt"')


@pytest.mark.parametrize(
    ("method", "added", "wants"),
    [
        ('name = "lcm"', "", "a forward prior above 0"),
        ('name = "lcm"', "[states.priors]\nstudent = 1\n[states.last_priors]\nforward = 1", "a forward prior above 0"),
        ('name = "dmd2"', "", "method.adversary"),
        ('name = "dmd2"\nadversary = false', '[threshold]\nkind = "static"', "a threshold"),
        ('name = "dmd2"\nadversary = false', "", ""),
        ('name = "lcm"', "[states.priors]\nteacher = 1\nstudent = 1", ""),
    ],
)
def test_prompts_alone_are_enough_where_nothing_wants_pictures(
    tmp_path: Path, method: str, added: str, wants: str
) -> None:
    text = PROMPTS.replace('name = "lcm"', method) + added
    if not wants:
        assert read(tmp_path, text).wants_pictures() == ""
        return
    with pytest.raises(DiversityError, match=f"gives prompts alone, but {wants} needs pictures"):
        read(tmp_path, text)


def test_what_is_no_file_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiversityError, match=r"nowhere.toml cannot be read \(No such file or directory\); name a TOML"):
        read_config(tmp_path / "nowhere.toml")
    with pytest.raises(DiversityError, match=r"train.toml is no TOML \(.*line 1.*\); mend that place"):
        read(tmp_path, "out = 3 x\n")
    path = tmp_path / "train.toml"
    path.write_bytes(b"out = '\xff'")
    with pytest.raises(DiversityError, match=r"train.toml is no TOML \('utf-8' codec"):
        read_config(path)
