"""Published figures of other people's runs, beside what `scale_counts` says of them.

LoRA: arXiv 2106.09685v2, footnote 5. VectorLM: VectorInstitute/vectorlm,
docs/reference_throughput.md, 4,096 tokens. fms-fsdp: foundation-model-stack/fms-fsdp, README.md.
torchtitan: pytorch/torchtitan, docs/performance.md.
"""

from __future__ import annotations

from lora_magic.cost import compute
from lora_magic.cost.cards import CARDS, REACHED
from lora_magic.cost.config import model_of
from lora_magic.cost.count import trainable
from lora_magic.cost.setting import Setting
from lora_magic.numbers import count
from tests.benchmarks import scale_counts as counts


def rows() -> list[list[str]]:
    """What, the published figure, and the same by the counts."""
    paper = [f"{less('gpt3-175b', 2048, saved):.2f}×" for saved in (True, False)]
    vector = f"{less('llama-3-8b', 4096, True):.2f}×"
    gains = [f"{13834.43 / 12249.74:.2f}×", f"{12249.74 / 3461.64:.2f}×, {13834.43 / 3682.15:.2f}×"]
    return [
        ["LoRA paper: GPT-3 175B, tokens/s of LoRA over full; operations, of full over LoRA",
         f"{43.1 / 32.5:.2f}×",
         f"{paper[0]} the operations with checkpointing, {paper[1]} without"],
        ["VectorLM: Llama 3 8B, FSDP on 4 A100, LoRA r8: the same", gains[0],
         f"{vector} the operations, with checkpointing"],
        ["VectorLM: tokens/s of 4 A100 over 1, full and LoRA", gains[1],
         f"{scaled('full', 3461.64)}, {scaled('LoRA r8 q,v', 3682.15)}"],
        ["fms-fsdp: Llama 2 7B in full, 128 A100, tokens/s and device", "3,760",
         reached("llama-2-7b", 4096, False, 3760)],
        ["fms-fsdp: Llama 2 70B in full, FSDP, 128 A100, 24,576 tokens a step and device", "380",
         f"{reached('llama-2-70b', 4096, True, 380)}; {hidden('llama-2-70b', 4096, 128)}"],
        ["torchtitan: Llama 3 70B in full, FSDP, 64 A100, 8,192 tokens a step and device", "331",
         f"{reached('llama-3-70b', 8192, True, 331)}; {hidden('llama-3-70b', 8192, 64)}"],
        ["torchtitan: the same, share of the card's speed without what is computed again", "51.7%",
         f"{331 * each('llama-3-70b', 'full', 8192, False) / 312e12:.1%}"],
    ]  # fmt: skip


def each(name: str, what: str, length: int, saved: bool) -> float:
    """The operations of training on one token."""
    found, spec = model_of(name), counts.SPECS[what]
    setting = Setting(spec=spec, length=length, checkpointing=saved)
    return compute.operations(found, setting, trainable(found, spec), 1)


def less(name: str, length: int, saved: bool) -> float:
    """The operations of full fine-tuning over those of LoRA."""
    return each(name, "full", length, saved) / each(name, "LoRA r8 q,v", length, saved)


def reached(name: str, length: int, saved: bool, rate: float) -> str:
    """The share of an A100's speed at so many tokens a second."""
    found = rate * each(name, "full", length, saved) / CARDS["a100-80"].flops
    return f"{found:.0%} of an A100's 312 TFLOPS ({REACHED:.0%} is assumed above)"


def hidden(name: str, length: int, devices: int) -> str:
    """The tokens from which computing takes longer than full fine-tuning's FSDP over 400 Gb/s."""
    wire = 3 * counts.gathered(counts.NARROW * model_of(name).parameters, devices)
    one = each(name, "full", length, True) / (REACHED * CARDS["a100-80"].flops)
    found = counts.sent(wire, "400 Gb/s") / one
    return f"over 400 Gb/s computing takes longer from {count(float(f'{found:.2g}'))} tokens on"


def scaled(what: str, rate: float) -> str:
    """The speed-up of FSDP on 4 A100 with NVLink 3, at VectorLM's rate on one: 4 rows of 4,096."""
    times = 3 if what == "full" else 2
    wire = times * counts.gathered(counts.NARROW * model_of("llama-3-8b").parameters, 4)
    alone, waits = 4 * 4096 / rate, wire / (counts.REACHED_LINK * 300e9)
    return f"{4 * alone / (alone + waits):.2f}×"
