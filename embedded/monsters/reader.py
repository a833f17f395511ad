"""Reads a monster's attributes back from its picture with a small convolutional network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from .attributes import ATTRIBUTES

READER_FILE = Path(__file__).with_name("reader.safetensors")
FEATURES = 128
LEGIBLE = "legible"
LEGIBLE_CERTAINTY = 0.95


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class ReaderNetwork(nn.Module):
    """Pictures [n, 3, h, w] in -1..1, seen at 64 x 64, to logits [n, labels of all attributes in a row]."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            _block(3, 32, 2),
            _block(32, 32, 1),
            _block(32, 64, 2),
            _block(64, 64, 1),
            _block(64, 96, 2),
            _block(96, 96, 1),
        )
        self.features = nn.Linear(96 * 16, FEATURES)
        self.heads = nn.Linear(FEATURES, sum(map(len, ATTRIBUTES.values())))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        small = functional.interpolate(pictures, (64, 64), mode="bilinear", antialias=True, align_corners=False)
        maps = functional.avg_pool2d(self.stages(small), 2)
        return self.heads(functional.relu(self.features(maps.flatten(1))))


def split_logits(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """One [n, labels] part for each attribute."""
    parts = logits.split([len(labels) for labels in ATTRIBUTES.values()], dim=1)
    return dict(zip(ATTRIBUTES, parts, strict=True))


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] in -1..1. Raises ValueError for anything else."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, but must be uint8 [n, height, width, 3]")
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass(frozen=True)
class Reading:
    """What was read from n pictures, by attribute: `values` int64 [n], `probabilities` float32 [n, labels].

    values["legible"] is 1 where the attributes are read with a mean certainty of at least 0.95, and 0 for what is
    likely noise, pieces or a mixture, whose attributes mean nothing.
    """

    values: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]


class Reader:
    """A trained ReaderNetwork, ready to read."""

    def __init__(self, network: ReaderNetwork) -> None:
        self.network = network.eval()

    @torch.inference_mode()
    def read(self, images: np.ndarray, batch: int = 64) -> Reading:
        """Attributes of uint8 [n, h, w, 3]."""
        pieces = [self.network(to_tensor(images[start : start + batch])) for start in range(0, len(images), batch)]
        logits = torch.cat(pieces) if pieces else torch.empty(0, self.network.heads.out_features)
        probabilities = {name: part.softmax(1).numpy() for name, part in split_logits(logits).items()}
        certainty = np.mean([part.max(1) for part in probabilities.values()], axis=0)
        values = {name: part.argmax(1) for name, part in probabilities.items()}
        return Reading({**values, LEGIBLE: (certainty >= LEGIBLE_CERTAINTY).astype(np.int64)}, probabilities)


def load_reader(path: Path = READER_FILE) -> Reader:
    """The trained reader that comes with this package. Raises FileNotFoundError when its file is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"no reader at {path}: run python -m embedded.monsters.train_reader")
    network = ReaderNetwork()
    state = {name: tensor.float() for name, tensor in load_file(path).items()}
    network.load_state_dict(state, strict=False)
    return Reader(network)
