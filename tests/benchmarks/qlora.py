"""QLoRA against LoRA on bf16, on a base of 100M parameters: bits per weight, held-out loss.

    python tests/benchmarks/qlora.py [--seeds 3] [--warm-up 30] [--steps 40]

The base is a random Llama with the embedded model's tokenizer, trained in full for a few steps on
the embedded model's rows so that it is not noise, saved, and loaded in bfloat16 and in NF4. Prints
the bits stored for each quantised weight (limit 4.2) and the held-out loss of both over the seeds
(limit: 2 % apart). pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lora_magic import demo
from lora_magic.base.device import choose_device
from lora_magic.state.session import Session
from tests.benchmarks import bases

BITS_LIMIT, LOSS_LIMIT = 4.2, 1.02


def build(folder: str, steps: int, width: int = 768, layers: int = 14) -> int:
    """Save a trained base, by default of at least 100M parameters; returns their number."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(demo.folder())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=12,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    session = Session()
    session.use(LlamaForCausalLM(config).to(choose_device(None)), tokenizer)
    session.attach("warm", method="full")
    run = session.train("warm", bases.rows(9, 400), eval=20, steps=steps, lr=3e-4, batch_size=16)
    print(f"warm-up: {run.line}", flush=True)
    session.merge("warm")
    session.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    count = session._state.base.parameters
    session.unmerge()
    session.reset()
    return count


def loss(folder: str, bits: int | None, seed: int, steps: int) -> tuple[float, float, str]:
    """The held-out loss before and after, and how the base is stored."""
    session = Session()
    record = session.load(folder, bits=bits, dtype="bf16")
    session.attach("one", seed=seed)
    run = session.train("one", bases.rows(seed), eval=50, steps=steps, seed=seed, max_length=64)
    assert session.verify()
    session.reset()
    assert run.held_out_before is not None
    assert run.held_out_after is not None
    quantised = record.quantised
    stored = "bf16" if quantised is None else quantised.line
    if quantised is not None:
        assert quantised.bits_per_weight <= BITS_LIMIT
    return run.held_out_before, run.held_out_after, stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    names = ("torch", "transformers", "peft", "bitsandbytes")
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, "
          + ", ".join(f"{name} {version(name)}" for name in names) + ", CPU")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        count = build(folder, given.warm_up)
        print(f"base: {count:,} parameters", flush=True)
        ratios = []
        for seed in range(given.seeds):
            found = {bits: loss(folder, bits, seed, given.steps) for bits in (None, 4)}
            ratios.append(found[4][1] / found[None][1])
            told = " · ".join(f"{stored}: {a:.4f} → {b:.4f}" for a, b, stored in found.values())
            print(f"seed {seed}: {told} · {ratios[-1]:.4f}×", flush=True)
        print(f"NF4 over bf16, mean {statistics.mean(ratios):.4f}×, largest {max(ratios):.4f}× "
              f"(limit {LOSS_LIMIT}×)")  # fmt: skip


if __name__ == "__main__":
    main()
