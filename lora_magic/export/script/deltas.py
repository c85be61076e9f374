"""Functions that scripts of blends and compressions contain, word for word: ΔW of saved LoRAs.

They read and write folders in PEFT's format and compute with torch alone; `made` chooses those that
a script needs. The package itself has its own (`lowrank`), which these must equal, by test. Knows
files and tensors; imports nothing of this package.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

#: ΔW of a matrix [d, k]: B (its scale included) [d, r] and A [r, k], or the matrix itself.
Delta = tuple[Tensor, Tensor] | Tensor


def read(folder: Path, base: nn.Module) -> tuple[dict[str, Delta], dict[str, Tensor]]:
    """ΔW by module path, and the trained parameters of the base by name, of a LoRA's folder."""
    config = json.loads(Path(folder, "adapter_config.json").read_text(encoding="utf-8"))
    factors: dict[str, dict[str, Tensor]] = {}
    trained = {}
    for key, tensor in load_file(Path(folder, "adapter_model.safetensors")).items():
        name = key.removeprefix("base_model.model.")
        path, lora, part = name.partition(".lora_")
        if lora:
            # lora_A.weight, of an embedding lora_embedding_A; DoRA's lora_magnitude_vector
            part = part.removeprefix("embedding_").removesuffix(".weight")
            factors.setdefault(path, {})[part] = tensor
        else:
            trained[name.replace(".base_layer.", ".")] = tensor
    return {path: delta_of(config, path, found, base) for path, found in factors.items()}, trained


def delta_of(config: dict[str, Any], path: str, found: dict[str, Tensor], base: nn.Module) -> Delta:
    """ΔW = s·B·A; with DoRA's magnitudes m it is m·V/‖V‖ − W, where V = W + s·B·A, row by row."""

    def own(name: str, usual: float) -> float:
        patterns = config.get(f"{name}_pattern") or {}
        fitting = (v for key, v in patterns.items() if re.match(rf"(.*\.)?({key})$", path))
        return float(next(fitting, usual))

    rank, alpha = own("rank", config["r"]), own("alpha", config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    up, down = scale * found["B"], found["A"]
    if "magnitude_vector" not in found:
        return up, down
    weight = weight_of(base, path)
    total = weight + up.double() @ down.double()
    magnitudes = found["magnitude_vector"].double().flatten()
    rescaled: Tensor = (magnitudes / total.norm(dim=1))[:, None] * total
    return rescaled - weight


def weight_of(base: nn.Module, path: str) -> Tensor:
    """A module's weight, outputs by inputs, in float64."""
    module = base.get_submodule(path)
    weight = module.get_parameter("weight").detach().cpu().double()
    return weight.T if type(module).__name__ in ("Conv1D", "Embedding") else weight


def dense(delta: Delta, dtype: torch.dtype = torch.float64) -> Tensor:
    """ΔW as a matrix."""
    if isinstance(delta, Tensor):
        return delta.to(dtype)
    return delta[0].to(dtype) @ delta[1].to(dtype)


def cut(delta: Delta, rank: int) -> tuple[Tensor, Tensor]:
    """U·√Σ and √Σ·Vᵀ of the best approximation of this rank; the factors as they are, if they fit.

    No matrix of that rank is nearer in the Frobenius norm (Eckart and Young 1936).
    """
    if isinstance(delta, tuple) and len(delta[1]) <= rank:
        return delta
    u, sigma, vh = torch.linalg.svd(dense(delta), full_matrices=False)
    root = sigma[:rank].sqrt()
    return (u[:, :rank] * root).float(), (root[:, None] * vh[:rank]).float()


def summed(parts: list[tuple[float, Delta]]) -> Delta:
    """Σ w·ΔW. Factors are put side by side, which is exact: [w₁B₁ | w₂B₂]·[A₁; A₂]."""
    if any(isinstance(delta, Tensor) for _, delta in parts):
        return torch.stack([weight * dense(delta) for weight, delta in parts]).sum(0)
    ups, downs = [weight * delta[0] for weight, delta in parts], [delta[1] for _, delta in parts]
    return torch.cat(ups, dim=1), torch.cat(downs)


def ties(parts: list[tuple[float, Delta]], density: float) -> Delta:
    """TIES (arXiv 2306.01708): the mean of the large entries that agree on the sign.

    The sign is that of Σ w·trim(ΔW). PEFT's "ties" elects it without the weights.
    """
    votes = torch.stack([weight * trimmed(delta, density) for weight, delta in parts])
    agreeing = votes * (votes.sign() == votes.sum(0).sign())
    return agreeing.sum(0) / (agreeing != 0).sum(0).clamp(min=1)


def magnitude(parts: list[tuple[float, Delta]], density: float) -> Delta:
    """Σ w·trim(ΔW)."""
    return torch.stack([weight * trimmed(delta, density) for weight, delta in parts]).sum(0)


def trimmed(delta: Delta, density: float) -> Tensor:
    """ΔW with 0 where it is smaller than its largest `density` share of entries."""
    full = dense(delta, torch.float32)
    dropped = full.numel() - max(1, round(density * full.numel()))
    return full * (full.abs() >= full.abs().flatten().kthvalue(dropped + 1).values)


def dare(parts: list[tuple[float, Delta]], density: float, seed: int) -> Delta:
    """DARE (arXiv 2311.03099): Σ w·m⊙ΔW/p, where each entry of m is 1 with probability p."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for weight, delta in parts:
        full = dense(delta, torch.float32)
        kept = torch.rand(full.shape, generator=generator) < density
        found.append(weight * full * kept / density)
    return torch.stack(found).sum(0)


def widest(parts: list[tuple[float, Delta]]) -> int:
    """The sum of the ranks, or the largest rank that the matrix can have."""
    return int(min(sum(rank_of(delta) for _, delta in parts), *dense(parts[0][1]).shape))


def energy_rank(delta: Delta, share: float) -> int:
    """The smallest rank that keeps this share of Σσ²."""
    energy = torch.linalg.svdvals(dense(delta)).square()
    kept = energy.cumsum(0) / energy.sum()
    return int((kept < share - 1e-12).count_nonzero()) + 1


def shared_ranks(deltas: dict[str, Delta], rank: int) -> dict[str, int]:
    """A rank for each module, from the parameters that `rank` takes in each of them.

    The directions with the largest σ² per parameter are kept, as long as these last.
    """
    sigma = {path: torch.linalg.svdvals(dense(delta)) for path, delta in deltas.items()}
    width = {path: min(len(found), rank_of(deltas[path])) for path, found in sigma.items()}
    cost = {path: sum(dense(delta).shape) for path, delta in deltas.items()}
    left = sum(min(rank, width[path]) * cost[path] for path in deltas)
    worth = [
        (float(value) ** 2 / cost[path], path, place)
        for path, found in sigma.items()
        for place, value in enumerate(found[: width[path]], start=1)
        if value > 1e-6 * found.norm()
    ]
    ranks = dict.fromkeys(deltas, 0)
    for _, path, place in sorted(worth, key=lambda one: -one[0]):
        if cost[path] <= left and ranks[path] == place - 1:
            ranks[path], left = place, left - cost[path]
    even = {path: min(rank, width[path]) for path in deltas}

    def kept(chosen: dict[str, int]) -> float:
        return sum(float(sigma[path][:own].square().sum()) for path, own in chosen.items())

    return ranks if kept(ranks) > kept(even) else even


def rank_of(delta: Delta) -> int:
    """The rank of the factors, or the largest that the matrix can have."""
    return min(delta.shape) if isinstance(delta, Tensor) else len(delta[1])


def less_intruders(delta: Delta, weight: Tensor) -> tuple[Tensor, Tensor]:
    """ΔW less a quarter of its intruder dimensions, at its rank (arXiv 2410.21228).

    These are those of the ten largest left singular vectors of W + ΔW whose cosine with every one
    of W's is below 0.5.
    """
    assert isinstance(delta, tuple), "its ΔW is no product of factors"
    up, down = delta
    own = torch.linalg.svd(weight, full_matrices=False).U
    u, sigma, vh = torch.linalg.svd(weight + dense(delta), full_matrices=False)
    new = ((u[:, :10].T @ own).abs().amax(dim=1) < 0.5).nonzero().flatten()
    if not len(new):
        return up, down
    part = (u[:, new] * sigma[new], vh[new])
    less = summed([(1.0, (up.double(), down.double())), (-0.25, part)])
    return cut(less, len(down))


def moved(parts: list[tuple[float, dict[str, Tensor]]], base: nn.Module) -> dict[str, Tensor]:
    """θ0 + Σ w·(θ − θ0) of each trained parameter of the base: biases, norms, a head."""
    found: dict[str, Tensor] = {}
    for weight, trained in parts:
        for name, value in trained.items():
            start = base.get_parameter(name).detach().cpu().double()
            found[name] = found.get(name, start) + weight * (value.double() - start)
    return {name: value.float() for name, value in found.items()}


def write(
    folder: Path,
    parents: list[Path],
    changes: dict[str, tuple[Tensor, Tensor]],
    trained: dict[str, Tensor],
    base: nn.Module,
) -> None:
    """Save a plain LoRA with these factors: the scale is 1, the rank each module's own."""
    configs = [json.loads(Path(p, "adapter_config.json").read_text("utf-8")) for p in parents]
    ranks = {path: len(down) for path, (_, down) in changes.items()}
    most = max(ranks.values())
    uneven = {path: rank for path, rank in ranks.items() if rank != most}
    saved = sorted({name for config in configs for name in config["modules_to_save"] or ()})
    config = configs[0] | {
        "r": most,
        "lora_alpha": most,
        "rank_pattern": uneven,
        "alpha_pattern": uneven,
        "target_modules": list(changes),
        "modules_to_save": saved or None,
        "bias": max((c["bias"] for c in configs), key=("none", "lora_only", "all").index),
        "use_dora": False,
        "use_rslora": False,
        "init_lora_weights": True,
        "lora_dropout": 0.0,
    }
    tensors = {}
    for path, (up, down) in changes.items():
        embeds = isinstance(base.get_submodule(path), nn.Embedding)
        names = ("embedding_B", "embedding_A") if embeds else ("B.weight", "A.weight")
        for name, tensor in zip(names, (up, down), strict=True):
            tensors[f"base_model.model.{path}.lora_{name}"] = tensor.float().contiguous()
    for name, value in trained.items():
        path, _, own = name.rpartition(".")
        inner = f"{path}.base_layer.{own}" if path in changes else name
        tensors[f"base_model.model.{inner}"] = value.contiguous()
    Path(folder).mkdir(exist_ok=True)
    save_file(tensors, Path(folder, "adapter_model.safetensors"))
    text = json.dumps(config, indent=2)
    Path(folder, "adapter_config.json").write_text(text + "\n", encoding="utf-8")
