"""Reads a model, with a PEFT adapter or without one, in plain transformers, and answers prompts.

A script for another process; it imports nothing of lora_magic. Called with the paths of a request
(JSON) and of a folder for the results:

    {"model": FOLDER or hub id, "adapter": FOLDER or null, "tokenizer": FOLDER (default: "model"),
     "task": "causal" | "classification", "dtype": "float32" | "auto", "device": "cpu",
     "threads": 1,
     "bits": null | 4 | 8, "attention": null | "sdpa" | "eager", "trust_remote_code": false,
     "prompts": [{"text": TEXT or null} or {"turns": [...]}, with "ids", "answer" and "special"],
     "new_tokens": 32, "stop_ids": [...], "sums": false | true | part of their names}

`ids` are what the model reads, `answer` the tokens whose logits are wanted, `special` whether the
tokenizer adds its own tokens to the text. The result has the ids that this tokenizer makes of each
prompt, the greedy answers, the logits before each token of the given answers (or of the labels)
and, with "sums", a sha256 of every tensor of the model, or of those with that part in their names.
It has the model's own settings of `generate` too, and by which numbers PEFT scales its factors.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file


def load(request: dict[str, Any]) -> Any:
    """The model, in the request's number format, with its adapter."""
    loader: Any = transformers.AutoModelForCausalLM
    if request["task"] == "classification":
        loader = transformers.AutoModelForSequenceClassification
    options: dict[str, Any] = {"trust_remote_code": request.get("trust_remote_code", False)}
    if request.get("bits"):
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=request["bits"] == 4,
            load_in_8bit=request["bits"] == 8,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, request["dtype"]),
        )
    if request["device"] != "cpu":
        options["device_map"] = {"": request["device"]}
    if request.get("attention"):
        options["attn_implementation"] = request["attention"]
    dtype = request["dtype"]
    model = loader.from_pretrained(request["model"], dtype=getattr(torch, dtype, dtype), **options)
    for module in model.modules():
        # On CPUs with AVX512-BF16 bitsandbytes would compute in bf16, whatever the dtype.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if request.get("adapter"):
        import peft

        model = peft.PeftModel.from_pretrained(model, request["adapter"])
    return model.eval()


def tokens(tokenizer: Any, prompt: dict[str, Any]) -> list[int]:
    """The ids that this tokenizer makes of a prompt; its own if it has no text to read."""
    text = prompt.get("text")
    if text is None and "turns" not in prompt:
        return list(prompt["ids"])
    if text is None:
        text = tokenizer.apply_chat_template(
            prompt["turns"], tokenize=False, add_generation_prompt=True
        )
    return list(tokenizer(text, add_special_tokens=prompt["special"], verbose=False)["input_ids"])


@torch.no_grad()
def answer(model: Any, ids: list[int], request: dict[str, Any]) -> list[int]:
    """The greedy answer, which ends with a stop token or after "new_tokens"."""
    given = torch.tensor([ids], device=model.device)
    made = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=request["new_tokens"],
    )
    return made[0, len(ids) :].tolist()  # type: ignore[no-any-return]  # of a tensor of ids


@torch.no_grad()
def follow(model: Any, ids: list[int], request: dict[str, Any]) -> list[int]:
    """The same answer by forward passes over the whole text, without a cache."""
    made: list[int] = []
    while len(made) < request["new_tokens"] and not set(made[-1:]) & set(request["stop_ids"]):
        given = torch.tensor([[*ids, *made]], device=model.device)
        made.append(int(model(input_ids=given, use_cache=False).logits[0, -1].argmax()))
    return made


def has_virtual_tokens(model: Any) -> bool:
    """Is it PEFT's prefix or prompt tuning, whose `generate` can lose the virtual tokens?"""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def agreeing(model: Any, answers: list[list[int]], request: dict[str, Any]) -> int:
    """On how many prompts `generate` gives these answers."""
    found = 0
    for prompt, expected in zip(request["prompts"], answers, strict=True):
        try:
            found += answer(model, prompt["ids"], request) == expected
        except (RuntimeError, ValueError, IndexError):  # of shapes that do not match
            continue
    return found


@torch.no_grad()
def logits(model: Any, prompt: dict[str, Any]) -> torch.Tensor:
    """The logits before each token of the answer [T, V]; of a classifier [1, labels]."""
    ids = torch.tensor([[*prompt["ids"], *prompt["answer"]]], device=model.device)
    if not prompt["answer"]:
        found = model(input_ids=ids).logits
    else:
        # Counted from the end: PEFT's prompt tuning returns logits of its own tokens, too.
        found = model(input_ids=ids, use_cache=False).logits[0, -len(prompt["answer"]) - 1 : -1]
    return found.float().cpu().contiguous().clone()  # type: ignore[no-any-return]


def sums(model: Any, part: str | bool) -> dict[str, str]:
    """A sha256 of each tensor's number format and bits, by its name."""
    found = {}
    for name, tensor in model.state_dict().items():
        if isinstance(part, str) and part not in name:
            continue
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        found[name] = f"{tensor.dtype} {hashlib.sha256(raw.data).hexdigest()}"
    return found


def main(request: dict[str, Any], results: Path) -> None:
    """Load, answer, and write result.json and logits.safetensors."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(request["threads"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        request.get("tokenizer") or request["model"],
        trust_remote_code=request.get("trust_remote_code", False),
    )
    model = load(request)
    settings = getattr(model, "generation_config", None)
    scales = [getattr(module, "scaling", None) for module in model.modules()]
    facts: dict[str, Any] = {
        "settings": json.loads(settings.to_json_string()) if settings is not None else {},
        "scales": sorted({s for one in scales if isinstance(one, dict) for s in one.values()}),
    }
    prompts = request["prompts"]
    answers: list[list[int]] = [[] for _ in prompts]
    if request["task"] == "causal":
        stops = request["stop_ids"] or None
        # The model's own settings may sample, or penalise tokens.
        model.generation_config = transformers.GenerationConfig(
            do_sample=False, eos_token_id=stops, pad_token_id=stops[0] if stops else 0
        )
        way = follow if has_virtual_tokens(model) else answer
        answers = [way(model, prompt["ids"], request) for prompt in prompts]
    found = {str(at): logits(model, prompt) for at, prompt in enumerate(prompts)}
    save_file(found, str(results / "logits.safetensors"))
    reader = f"transformers {transformers.__version__}"
    if request.get("adapter"):
        import peft

        reader = f"peft {peft.__version__} and {reader}"
    facts |= {
        "reader": reader,
        "inputs": [tokens(tokenizer, prompt) for prompt in prompts],
        "answers": answers,
        "sums": sums(model, request["sums"]) if request.get("sums") else {},
    }
    if has_virtual_tokens(model):
        facts["generated"] = agreeing(model, answers, request)
    (results / "result.json").write_text(json.dumps(facts), encoding="utf-8")


def end_with_its_parent() -> None:
    """End this process once the one that holds the other end of its input is gone."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=end_with_its_parent, daemon=True).start()
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - told in one line, which the caller shows
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.exit(f"{type(error).__name__}: {lines[0] if lines else 'no message'}")
