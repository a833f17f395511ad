"""Whatever stands in a file's header or in its keys: it is read, or refused in one sentence, and nothing else is."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from extension_core.errors import DiversityError
from extension_core.sampling.families import detect_family
from extension_core.weights.compatibility import check_unet, prediction_type
from extension_core.weights.lora_checks import check_lora
from extension_core.weights.lora_file import lora_tensors, read_lora
from extension_core.weights.lora_names import is_lora
from extension_core.weights.naming import file_keys
from extension_core.weights.reader import Header, open_tensors, read_header

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
UNET = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
    "model.diffusion_model.input_blocks.0.0.bias": (8,),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
    "model.diffusion_model.time_embed.0.weight": (8, 8),
    "model.diffusion_model.out.2.weight": (4, 8, 3, 3),
}
LAYER = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"
PARTS = (
    *UNET,
    *(f"{LAYER}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha", "dora_scale")),
    *("lora_te_text_model_x.lora_down.weight", "unet.down_blocks.0.attentions.0.to_q.lora_A.weight", "lora_unet_"),
    *(
        "base_model.model.x.lora_B.default.weight",
        "diffusion_model.x.lora_A.weight",
        ".alpha",
        "bundle_emb.x",
        "v_pred",
    ),
    *("scaled_fp8", "model.diffusion_model.input_blocks.0.0.scale_weight", "x.weight", "x.weight_scale", "x.SCB"),
    *(
        "conv_in.weight",
        "unet.conv_in.weight",
        "model_ema.diffusion_modelout2weight",
        "",
        ".",
        "lora_A",
        "a.lora_A.weight",
    ),
)
KEYS = st.sampled_from(PARTS) | st.text(max_size=12)
SHAPES = st.lists(st.integers(0, 9), max_size=5).map(tuple)
DTYPES = ("F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2", "I8", "U8", "I64", "BOOL", "U16", "F4", "C64", "")
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(DTYPES) | ANY_JSON,
        "shape": SHAPES.map(list) | ANY_JSON,
        "data_offsets": st.tuples(st.integers(-4, 64), st.integers(-4, 64)).map(list) | ANY_JSON,
    },
)
METADATA_KEYS = (
    *("modelspec.title", "modelspec.tags", "modelspec.prediction_type", "ss_output_name", "distillation"),
    *("lora_adapter_metadata", "sshs_model_hash"),
)
METADATA = st.dictionaries(st.sampled_from(METADATA_KEYS) | st.text(max_size=5), st.text(max_size=20) | ANY_JSON)


def file_of(folder: Path, header: bytes, data: bytes = b"\0" * 64, length: int | None = None) -> Path:
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def asked_of(path: Path) -> None:
    """Everything that listing, detecting and checking ask of a file; nothing but a sentence may come of it."""
    try:
        header = read_header(path)
        detect_family(path.stem, header.metadata)
        prediction_type(header.metadata, header.shapes, None)
        checked(header)
        with open_tensors(header) as source:
            for key in source.keys():  # noqa: SIM118
                source.get(key)
    except DiversityError as error:
        one_sentence(str(error))


def one_sentence(text: str) -> None:
    assert text.endswith(".")
    assert "\n" not in text
    assert "Error" not in text.replace("DiversityError", "")


def checked(header: Header) -> None:
    is_lora(header.shapes)
    lora = read_lora(header, UNET)
    for check in (
        lambda: check_lora(lora, UNET),
        lambda: check_unet(
            "m", {name: header.shapes[key] for name, key in file_keys(header.shapes, UNET).items()}, UNET
        ),
        lambda: lora_tensors(lora),
    ):
        refused_in_a_sentence(check)


def refused_in_a_sentence(check: Callable[[], Any]) -> None:
    try:
        check()
    except DiversityError as error:
        one_sentence(str(error))


@FEW
@given(
    header=st.dictionaries(KEYS, ENTRY | ANY_JSON, max_size=4),
    metadata=st.none() | METADATA | ANY_JSON,
    has=st.booleans(),
)
@example(header={}, metadata=None, has=True)
def test_any_header(tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], metadata: Any, has: bool) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = {"__metadata__": metadata, **header} if has else header
    asked_of(file_of(folder, json.dumps(whole).encode(errors="surrogatepass")))


@FEW
@given(
    shapes=st.dictionaries(KEYS, SHAPES, min_size=1, max_size=6), metadata=METADATA, dtype=st.sampled_from(DTYPES[:11])
)
def test_any_keys_and_shapes(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, tuple[int, ...]], metadata: dict[str, Any], dtype: str
) -> None:
    """A whole file, as the library writes it: every tensor can be read."""
    sizes = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "U16": 2}
    entries: dict[str, Any] = {}
    end = 0
    for key, shape in shapes.items():
        begin, end = end, end + torch.Size(shape).numel() * sizes.get(dtype, 1)
        entries[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    told = {key: value for key, value in metadata.items() if isinstance(value, str)}
    header = json.dumps({"__metadata__": told, **entries}).encode(errors="surrogatepass")
    asked_of(file_of(tmp_path_factory.getbasetemp(), header, b"\1" * end))


GOOD = save({"a.weight": torch.ones(2, 2)}, metadata={"modelspec.title": "dmd2"})


@FEW
@given(at=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.integers(0, len(GOOD)))
def test_any_byte_changed_or_cut(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    changed = bytearray(GOOD)
    changed[at] = byte
    for number, content in enumerate((bytes(changed), GOOD[:cut])):
        path = folder / f"m{number}.safetensors"
        path.write_bytes(content)
        asked_of(path)


ONE = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
ODD: dict[str, bytes] = {
    "metadata null": b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "metadata a list": b'{"__metadata__":[1],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "metadata of numbers": b'{"__metadata__":{"x":1},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "metadata twice": b'{"__metadata__":{},"__metadata__":{"x":"y"}}',
    "a key twice": b'{"a":%s,"a":%s}' % (ONE, ONE),
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "a long number": b'{"a":' + b"9" * 5000 + b"}",
    "offsets backwards": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    "offsets beyond": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]}}',
    "offsets overlap": b'{"a":%s,"b":%s}' % (ONE, ONE.replace(b"[0,4]", b"[2,6]")),
    "a shape beyond": b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
    "a negative shape": b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    "a shape of true": b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[false,4]}}',
    "no UTF-8": b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "UTF-16": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.encode("utf-16"),
    "half a pair": b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "NaN": b'{"a":NaN}',
    "a list": b"[1,2]",
    "nothing": b"{}",
    "an empty key": b'{"":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
}


@pytest.mark.parametrize("case", ODD)
def test_odd_headers(tmp_path: Path, case: str) -> None:
    asked_of(file_of(tmp_path, ODD[case]))


def test_metadata_that_is_null_is_none(tmp_path: Path) -> None:
    """Valid for the library, so for us."""
    header = read_header(file_of(tmp_path, ODD["metadata null"], b"\0" * 4))
    assert (dict(header.metadata), dict(header.shapes)) == ({}, {"a": (1,)})


ADAPTERS = (
    "[]",
    "null",
    "1",
    '{"r": "x", "lora_alpha": 2}',
    '{"r": [1], "lora_alpha": 2}',
    '{"r": -4, "use_rslora": true, "lora_alpha": 1}',
    '{"r": 1e999, "lora_alpha": 1e999}',
    '{"r": 8, "lora_alpha": {}}',
    "[" * 50_000,
    "{",
)


@pytest.mark.parametrize("said", ADAPTERS, ids=lambda said: said[:20])
def test_what_a_lora_says_of_its_scale(tmp_path: Path, said: str) -> None:
    tensors = {f"{LAYER}.lora_down.weight": torch.ones(4, 768), f"{LAYER}.lora_up.weight": torch.ones(8, 4)}
    path = tmp_path / "m.safetensors"
    path.write_bytes(save(tensors, metadata={"lora_adapter_metadata": said}))
    asked_of(path)
