"""Mutations of weights: headers, tensors, pickles in their place, and the index of shards."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .scene import (
    EVIL,
    INDEX,
    MODEL,
    VALUES,
    Scene,
    base,
    model,
    places_in,
    put,
)


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put_parts(path: Path, header: object, body: bytes, length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def tensor_edit(s: Scene, change: Callable[[dict[str, Any], str], object]) -> None:
    """Change the header of a weight file at one to three tensors."""
    header, body = parts(path := s.weights())
    names = sorted(header.keys() - {"__metadata__"})
    for name in s.rng.sample(names, min(len(names), s.rng.randint(1, 3))):
        change(header, name)
    put_parts(path, header, body)


@model
def header_too_long(s: Scene) -> None:
    """The header's length is huge, negative, or one too many."""
    header, body = parts(path := s.weights())
    put_parts(path, header, body, s.rng.choice([2**63, 2**64 - 1, 10**9, 0, 1, 10**5]))


@model
def header_hostile(s: Scene) -> None:
    """The header is deeply nested, a list, or has no entries."""
    body = s.rng.choice([b"[" * 20000, b"[]", b"{}", b"null", b"", b'{"x":1}', b"\xff\xfe{}"])
    s.weights().write_bytes(struct.pack("<Q", len(body)) + body + b"\0" * 64)


@model
def offsets_hostile(s: Scene) -> None:
    """Tensors overlap, run backwards or lie behind the end."""
    pairs = [[0, 4], [8, 0], [0, 10**12], [-4, 0], [2**63, 2**63 + 4], [0, 0], [0]]
    tensor_edit(s, lambda h, n: h[n].update(data_offsets=s.rng.choice(pairs)))


@model
def dtype_relabelled(s: Scene) -> None:
    """The bytes are said to be of another number format."""
    pool = ["I64", "F64", "BF16", "F16", "F8_E4M3", "BOOL", "U8", "I32", "C64", "F4", EVIL, None]
    tensor_edit(s, lambda h, n: h[n].update(dtype=s.rng.choice(pool)))


@model
def shape_relabelled(s: Scene) -> None:
    """The shapes are transposed, flattened, or do not fit the bytes."""
    pool = [[], [0], [1, 1, 1], [2**40], [2**32, 2**32], [-1]]
    tensor_edit(s, lambda h, n: h[n].update(shape=s.rng.choice([h[n]["shape"][::-1], *pool])))


@model
def tensors_of_another_kind(s: Scene) -> None:
    """Valid tensors of wrong number formats, shapes or values, rewritten with matching bytes."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path := s.weights())
    formats = [torch.int64, torch.float64, torch.bool, torch.uint8, torch.float8_e4m3fn]
    changes: list[Callable[[Any], Any]] = [
        lambda t: t.to(s.rng.choice(formats)),
        lambda t: torch.full_like(
            t, s.rng.choice([float("nan"), float("inf"), -float("inf"), 3e38])
        ),
        lambda t: t.mT.contiguous(),
        lambda t: t[:1].clone(),
        lambda t: t.repeat(2, *[1] * (t.ndim - 1)),
        lambda t: t[None].clone(),
        lambda t: t.flatten().clone(),
        lambda t: torch.zeros(0, *t.shape[1:]),
        lambda t: torch.zeros(()),
        lambda t: t.to(torch.complex64),
    ]
    change, every = s.rng.choice(changes), s.rng.random() < 0.5
    chosen = sorted(tensors) if every else s.rng.sample(sorted(tensors), 1)
    save_file({k: change(t) if k in chosen else t for k, t in tensors.items()}, path)


@model
def tensor_missing(s: Scene) -> None:
    """Tensors are missing, their bytes too."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path := s.weights())
    save_file({k: t for k, t in tensors.items() if s.rng.random() < s.rng.random()}, path)


@model
def tensor_renamed(s: Scene) -> None:
    """Tensors have names that are unsafe to show, very long, or another module's."""
    pool = [
        EVIL,
        "",
        "x" * 10**5,
        "../x",
        "base_model.model.lm_head.weight",
        "__class__",
        "a..b",
        ".",
    ]
    pool += [
        "base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight",
        EVIL + ".lora_A.weight",
    ]
    tensor_edit(s, lambda h, n: h.update({s.rng.choice(pool): h.pop(n)}))


@model
def metadata_hostile(s: Scene) -> None:
    """The metadata of the weights has another format, unsafe text, or a wrong type."""
    header, body = parts(path := s.weights())
    pool: list[object] = [
        {"format": "tf"},
        {"format": EVIL},
        {EVIL: EVIL},
        {"format": 1},
        [],
        None,
        {},
    ]
    put_parts(path, {**header, "__metadata__": s.rng.choice(pool)}, body)


@model
def tensors_in_great_number(s: Scene) -> None:
    """100,000 further tensors of no bytes."""
    header, body = parts(path := s.weights())
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2}
    put_parts(
        path, header | {f"base_model.model.x{n}.lora_A.weight": empty for n in range(10**5)}, body
    )


@model
def pickle_in_place(s: Scene) -> None:
    """The weights are a pickle with a payload."""
    s.weights().write_bytes(s.payload())


@model
def pickle_beside(s: Scene) -> None:
    """Pickles with a payload beside, or instead of, the weights."""
    for name in (
        "adapter_model.bin",
        "pytorch_model.bin",
        "model.pt",
        "training_args.bin",
        "x.pkl",
    ):
        (s.folder / name).write_bytes(s.payload())
    if s.rng.random() < 0.5:
        s.weights().unlink()


# Indexes


def index(s: Scene, name: str) -> None:
    """An index that places one tensor, or every one, in the file `name`."""
    placed = {
        key: path.name
        for path in s.all_weights()
        for key in parts(path)[0]
        if key != "__metadata__"
    }
    if (s.folder / MODEL).exists():
        (s.folder / MODEL).rename(s.folder / "part.safetensors")
        placed = dict.fromkeys(placed, "part.safetensors")
    chosen = placed if s.rng.random() < 0.5 else [s.rng.choice(sorted(placed))]
    content = {"metadata": {"total_size": 1}, "weight_map": placed | dict.fromkeys(chosen, name)}
    (s.folder / INDEX).write_text(json.dumps(content))


@base
def index_leads_outside(s: Scene) -> None:
    """An index names a file outside the folder, relative, absolute or through a link."""
    secret = s.work / "outside" / "secret.safetensors"
    pool = ["../../../outside/secret.safetensors", str(secret), "linked/secret.safetensors"]
    index(s, s.rng.choice([*pool, "link.safetensors", "./../../../outside/secret.safetensors"]))
    (s.folder / "link.safetensors").symlink_to(secret)
    (s.folder / "linked").symlink_to(s.work / "outside")


@base
def index_names_something_else(s: Scene) -> None:
    """An index names a pickle, itself, a missing file, a folder, a device or a wrong type."""
    (s.folder / "pytorch_model.bin").write_bytes(s.payload())
    (s.folder / "sub.safetensors").mkdir()
    os.mkfifo(s.folder / "pipe.safetensors")
    pool = ["pytorch_model.bin", INDEX, "missing.safetensors", "sub.safetensors", "/etc/passwd"]
    index(s, s.rng.choice([*pool, "pipe.safetensors", "/dev/zero", "", ".", EVIL, "config.json"]))


@base
def index_of_another_type(s: Scene) -> None:
    """An index whose parts have wrong types."""
    index(s, "part.safetensors")
    content = json.loads((s.folder / INDEX).read_text())
    put(s.folder / INDEX, *s.rng.choice(places_in(content)[:6]), content, s.rng.choice(VALUES))
