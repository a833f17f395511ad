"""Normal numbers as CUDA draws them: Philox 4x32 with 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"), then Box-Muller. Makes images of a CPU equal those of an NVIDIA card (setting "NV").
"""

from __future__ import annotations

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)


def _philox(counter: np.ndarray, key: np.ndarray, rounds: int = 10) -> np.ndarray:
    """counter uint32 [4, n], key uint32 [2, n] -> uint32 [4, n]."""
    for i in range(rounds):
        a = counter[0].astype(np.uint64) * _MULTIPLIERS[0]
        b = counter[2].astype(np.uint64) * _MULTIPLIERS[1]
        counter = np.stack(
            [
                (b >> np.uint64(32)).astype(np.uint32) ^ counter[1] ^ key[0],
                (b & _LOW).astype(np.uint32),
                (a >> np.uint64(32)).astype(np.uint32) ^ counter[3] ^ key[1],
                (a & _LOW).astype(np.uint32),
            ]
        )
        if i < rounds - 1:
            key = np.stack([key[0] + _WEYL[0], key[1] + _WEYL[1]])
    return counter


class Generator:
    """One stream; `offset` counts the calls, as CUDA's does."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.offset = 0

    def randn(self, shape: tuple[int, ...]) -> np.ndarray:
        n = int(np.prod(shape))
        counter = np.zeros((4, n), dtype=np.uint32)
        counter[0] = self.offset
        counter[2] = np.arange(n, dtype=np.uint32)
        self.offset += 1
        key = np.empty((2, n), dtype=np.uint32)
        key[0] = self.seed & 0xFFFFFFFF
        key[1] = (self.seed >> 32) & 0xFFFFFFFF
        bits = _philox(counter, key)
        u = bits[0].astype(np.float64) * 2.3283064e-10 + 2.3283064e-10 / 2
        v = bits[1].astype(np.float64) * (2.3283064e-10 * 2 * np.pi) + 2.3283064e-10 * np.pi
        return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32).reshape(shape)
