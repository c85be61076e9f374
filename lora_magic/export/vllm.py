"""`--to vllm`: PEFT's folder, checked against the rules that vLLM publishes, and the line to serve.

vLLM is not run here: it needs a GPU server. What it accepts is read in its sources (2026-11):

    vllm/config/lora.py                     --max-lora-rank takes one of `RANKS`
    vllm/lora/peft_helper.py                reads r, lora_alpha, use_rslora; refuses DoRA,
                                            modules_to_save, biases; reads no rank_pattern
    vllm/lora/lora_model.py, lora/utils.py  every tensor is lora_A or lora_B of a linear layer, or
                                            of an embedding that the model's class names
    vllm/model_executor/models/*.py         `embedding_modules`: the classes in `EMBEDDINGS`
    vllm/lora/layers/logits_processor.py    a LoRA on lm_head needs a vocabulary of at most 258,048
    vllm/lora/ops/triton_ops/*.py           LoRA is computed in fp16 or bf16
    docs/models/supported_models.md         the architectures with LoRA, and those without
    vllm/entrypoints/openai/cli_args.py     --lora-modules NAME=PATH; JSON if PATH has = or ,

Knows these rules; knows no file's contents.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import torch

from lora_magic import demo
from lora_magic.base.model import BaseModel
from lora_magic.errors import ExportError, listed
from lora_magic.paths import quoted

from . import plain_lora
from .adapter_folder import PeftFolder, own_embeddings
from .job import Job
from .receipt import Check
from .reference import TOKENS, Reference

#: What --max-lora-rank takes.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

#: Architectures whose embedding and lm_head take a LoRA.
EMBEDDINGS = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"})

#: The largest vocabulary of a LoRA on lm_head.
VOCABULARY = 258_048

#: Text models that vLLM's documentation lists with LoRA, and without.
WITH_LORA = frozenset(
    f"{name}ForCausalLM"
    for name in (  # noqa: SIM905 - a column of names
        "Apertus Arcee BailingMoe Cohere Cohere2 Cwm DeepseekV2 DeepseekV3 DeepseekV32 Ernie4_5 "
        "Ernie4_5_Moe Exaone4 FalconH1 GPTBigCode Gemma Gemma2 Gemma3 Gemma4 Glm Glm4 Glm4Moe "
        "Glm4MoeLite GlmMoeDsa GptOss Granite GraniteMoe GraniteMoeHybrid GraniteMoeShared "
        "HunYuanDenseV1 HunYuanMoEV1 InternLM2 InternLM3 Jamba Lfm2 Lfm2Moe Llama LongcatFlash "
        "MiMo MiniCPM MiniCPM3 MiniMaxM2 Mistral Mixtral Nemotron NemotronH OPT Olmo Olmo2 Olmo3 "
        "OlmoHybrid Phi Phi3 PhiMoE Qwen2 Qwen2Moe Qwen3 Qwen3Moe Qwen3Next SeedOss SmolLM3 Solar "
        "Starcoder2 TeleChat2 VaultGemma"
    ).split()
)
WITHOUT_LORA = frozenset(
    f"{name}ForCausalLM"
    for name in (  # noqa: SIM905 - a column of names
        "Arctic Bloom Dbrx Falcon FalconMamba FlexOlmo GPTJ GPTNeoX Gemma3n Jais2 KimiLinear "
        "MPT Mamba Mamba2 Mpt Olmoe Orion RW StableLm Zamba2"
    ).split()
) | {"GPT2LMHeadModel"}

_NOT_RUN = "read by PEFT; not run by vLLM"


class Vllm:
    """The format `vllm`."""

    def __init__(self) -> None:
        self._folder = PeftFolder()

    def refuse(self, job: Job) -> None:
        """Raise `ExportError` for what vLLM's rules exclude."""
        plain_lora.refuse(job)
        merged = f"type: %lora export {job.name} --to merged (vLLM serves it without LoRA)"
        name = job.slots.shapes.architecture
        if name in WITHOUT_LORA:
            raise ExportError(f"vLLM has no LoRA for {name}; {merged}")
        rank = plain_lora.rank_of(job)
        if rank > RANKS[-1]:
            raise ExportError(
                f"rank {rank} is above vLLM's largest, {RANKS[-1]}; type: "
                f"%lora compress {job.name} --rank {RANKS[-1]}, then export that adapter, or "
                f"%lora export {job.name} --to merged"
            )
        own = own_embeddings(job)
        if own and name not in EMBEDDINGS:
            raise ExportError(
                f"vLLM has no LoRA on {listed(own)} of {name}, only on linear layers; {merged}"
            )
        vocabulary = max((max(job.slots.shapes.modules[p].sides) for p in own), default=0)
        if vocabulary > VOCABULARY:
            raise ExportError(
                f"{vocabulary:,} tokens: vLLM's LoRA on {listed(own)} takes at most "
                f"{VOCABULARY:,}; {merged}"
            )

    def bytes(self, job: Job) -> int:
        """As PEFT's folder."""
        return self._folder.bytes(job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """PEFT's folder, and what differs when vLLM serves it."""
        return (_NOT_RUN, *self._folder.write(job, folder), *_notes(job))

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """Read by plain PEFT."""
        return self._folder.check(job, folder, notebook)

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """The lines that write the base, if vLLM cannot read it yet, serve both, and ask."""
        base, first = job.base.source, []
        if base is None or _is_written(job.base):
            base = str(folder.parent / "base-merged")
            first = [("write the base", f"%lora export base {quoted(base)} --to merged")]
        rank = next(one for one in RANKS if one >= plain_lora.rank_of(job))
        line = ["vllm", "serve", base, *_dtype(job.base), "--enable-lora", "--max-lora-rank"]
        line += [str(rank), "--lora-modules", _module(job.name, str(folder))]
        return (*first, ("serve it", shlex.join(line)), ("ask it", _curl(job)))


def _is_written(base: BaseModel) -> bool:
    """Must the base be written first: is it the embedded model, or quantised in memory?

    vLLM quantises by itself, to other numbers; the dequantised base has those of the notebook.
    """
    return base.quantised is not None or base.source == str(demo.WEIGHTS)


def _notes(job: Job) -> list[str]:
    name, base = job.slots.shapes.architecture, job.base
    notes = []
    if name not in WITH_LORA:
        notes.append(
            f"{name} is not in vLLM's list of models with LoRA; try it before you rely on it"
        )
    if base.dtype == torch.float32:
        notes.append("vLLM computes a LoRA in fp16 or bf16: answers can differ by rounding")
    if base.quantised is not None:
        notes.append(
            f"trained on {base.quantised.kind} weights: serve the dequantised base, which has the "
            "same numbers; vLLM's own --quantization rounds the original weights again"
        )
    return notes


def _dtype(base: BaseModel) -> list[str]:
    known = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
    return ["--dtype", known[base.dtype]] if base.dtype in known else []


def _module(name: str, folder: str) -> str:
    if "=" in folder or "," in folder:
        return json.dumps({"name": name, "path": folder}, ensure_ascii=False)
    return f"{name}={folder}"


def _curl(job: Job) -> str:
    """One of the notebook's prompts in the adapter's own form, as a request."""
    prompt, form = job.prompts[0], job.form
    chat = form is not None and form.kind == "chat"
    turns = [{"role": "user", "content": prompt}]
    if form is not None and form.system:
        turns.insert(0, {"role": "system", "content": form.system})
    said: dict[str, object] = {"messages": turns} if chat else {"prompt": f"{prompt}\n"}
    body = {"model": job.name, **said, "temperature": 0, "max_tokens": TOKENS}
    where = "chat/completions" if chat else "completions"
    return shlex.join(
        [
            *("curl", f"http://localhost:8000/v1/{where}"),
            *("-H", "Content-Type: application/json"),
            *("-d", json.dumps(body, ensure_ascii=False)),
        ]
    )
