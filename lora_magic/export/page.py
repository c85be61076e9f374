"""The hub's page of an export: README.md, fields in YAML and then text.

Whatever comes from outside (names, notes, a system prompt) is quoted, so that it stays one YAML
string, or one piece of code in the text. Knows the values of a card; knows no model and no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.adapters.live_adapter import History
from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.numbers import figures
from lora_magic.printable import clean, one_line

from .receipt import LABELS

Values = Mapping[str, Any]

#: The library that reads each format, as the hub names it.
_LIBRARIES = {"merged": "transformers", "peft": "peft", "vllm": "peft", "gguf": "gguf"}

_TITLES = {
    "merged": "a transformers model",
    "peft": "a PEFT adapter",
    "vllm": "a LoRA adapter for vLLM, in PEFT's layout",
    "gguf": "GGUF",
}

#: Fields of a run's record, as they are said.
_RUN = (
    *(("learning_rate", "learning rate"), ("steps", "steps"), ("planned_steps", "planned steps")),
    *(("batch_size", "batch"), ("examples", "rows trained on"), ("held_out", "rows held out")),
    *(("seed", "seed"), ("best_step", "kept step"), ("ended", "ended by")),
)


def page_of(
    values: Values,
    base_id: str,
    license: Mapping[str, str],
    commands: Sequence[Sequence[str]],
) -> str:
    """README.md from a card's values. `base_id` is "" for a base that the hub does not have."""
    export = values["export"]
    adapter = export["format"] in ("peft", "vllm") or export["adapter_only"]
    what = _TITLES[export["format"]] + (", the adapter alone" if export["adapter_only"] else "")
    parts = [
        ["---", *_head(values, adapter, base_id, license), "---"],
        [f"# {said(values['name'])}"],
        [f"{code(values['name'])} on {code(values['base']['name'])}, as {what}."],
        ["## Use", *_usage(values, commands)],
        ["## Prompt form", *_form(values["prompt_form"])],
        ["## Receipt", *_receipt(export)],
        ["## Adapter", *_adapter(values)] if "settings" in values else [],
        ["## Base and versions", *_made_with(values, base_id)],
    ]
    return "\n\n".join(_spaced(part) for part in parts if part) + "\n"


def _spaced(lines: Sequence[str]) -> str:
    """A heading, with an empty line before what follows."""
    if not lines[0].startswith("#"):
        return "\n".join(lines)
    return "\n".join([lines[0], "", *lines[1:]]) if lines[1:] else lines[0]


def code(text: object) -> str:
    """Inline code, whatever the text holds."""
    inner = one_line(str(text)) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", inner)), default=0))
    space = " " if inner[0] == "`" or inner[-1] == "`" else ""
    return f"{fence}{space}{inner}{space}{fence}"


def said(text: object) -> str:
    """A sentence that starts no HTML and no link."""
    return re.sub(r"[<\[]", r"\\\g<0>", one_line(str(text)))


def _block(language: str, text: str) -> str:
    longest = max(map(len, re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{clean(text)}\n{fence}"


# The head


def _head(values: Values, adapter: bool, base_id: str, license: Mapping[str, str]) -> list[str]:
    """The hub's fields. A JSON string is a YAML string, too."""
    export = values["export"]
    classifies = bool(values["base"]["labels"])
    fields = {
        "base_model": base_id,
        "base_model_relation": _relation(values, adapter) if base_id else "",
        "library_name": _LIBRARIES[export["format"]],
        "pipeline_tag": "text-classification" if classifies else "text-generation",
        **license,
    }
    method = values.get("settings", {}).get("method", "")
    tags = ["lora_magic", method, "vllm" * (export["format"] == "vllm")]
    lines = [f"{name}: {_yaml(value)}" for name, value in fields.items() if value]
    return [*lines, "tags:", *(f"- {_yaml(tag)}" for tag in tags if tag)]


def _relation(values: Values, adapter: bool) -> str:
    """How the hub's family tree names it: a base with ΔW in its weights is fine-tuned.

    The base alone in another number format is quantised; as it is, it is none of these.
    """
    if adapter:
        return "adapter"
    if "settings" in values:
        return "finetune"
    return "quantized" if values["export"]["format"] == "gguf" else ""


def _yaml(text: str) -> str:
    return json.dumps(one_line(text), ensure_ascii=False)


# The text


def _usage(values: Values, commands: Sequence[Sequence[str]]) -> list[str]:
    lines = []
    if program := _program(values):
        lines = [_block("python", program)]
    for what, line in commands:
        lines += ["", f"{said(what[:1].upper() + what[1:])}:", "", _block("", line)]
    if not lines:
        lines = ["The files are those of the format; see its own documentation."]
    return lines[1:] if lines[0] == "" else lines


def _program(values: Values) -> str:
    """Python that answers one prompt; "" for a format that Python does not read."""
    format, labels = values["export"]["format"], values["base"]["labels"]
    if format not in ("merged", "peft"):
        return ""
    kind = "AutoModelForSequenceClassification" if labels else "AutoModelForCausalLM"
    lines = [f"from transformers import {kind}, AutoTokenizer"]
    if format == "peft":
        lines.insert(0, "from peft import PeftModel")
    lines += ["", 'path = "FOLDER"  # this folder, or its id on the hub']
    named = _python(values["base"]["name"])
    # Only an id of the hub can be typed as it is.
    there = "" if values["base"]["hub"] else "  # where this model is"
    lines += [f"base = {named}{there}"] if format == "peft" else []
    where = "base" if format == "peft" else "path"
    lines += [
        f"tokenizer = AutoTokenizer.from_pretrained({where})",
        f"model = {kind}.from_pretrained({where})",
        *(["model = PeftModel.from_pretrained(model, path)"] if format == "peft" else []),
    ]
    return "\n".join([*lines, *_answering(values["prompt_form"], bool(labels))])


def _answering(form: Values | None, classifies: bool) -> list[str]:
    """The lines that ask and print."""
    if form is None or classifies:
        return [
            'rows = tokenizer("TEXT", return_tensors="pt")',
            "print(model.config.id2label[model(**rows).logits.argmax().item()])",
        ]
    rows = 'rows = tokenizer("PROMPT" + "\\n", return_tensors="pt")'
    turns = []
    if form["kind"] == "chat":
        system = form["system"]
        first = f'{{"role": "system", "content": {_python(system)}}}, ' if system else ""
        turns = [f'turns = [{first}{{"role": "user", "content": "PROMPT"}}]']
        rows = (
            "rows = tokenizer.apply_chat_template(\n"
            '    turns, add_generation_prompt=True, return_dict=True, return_tensors="pt"\n'
            ")"
        )
    stops = f", eos_token_id={list(form['stop_ids'])}" if form["stop_ids"] else ""
    return [
        *turns,
        rows,
        f"answer = model.generate(**rows, do_sample=False, max_new_tokens=64{stops})",
        'new = answer[0, rows["input_ids"].shape[1] :]',
        "print(tokenizer.decode(new, skip_special_tokens=True))",
    ]


def _python(text: str) -> str:
    """A JSON string, which is a Python string, too."""
    return json.dumps(text, ensure_ascii=False)


def _form(form: Values | None) -> list[str]:
    if form is None:
        return ["A text as it is: this is a classifier."]
    kind = {"chat": "the tokenizer's chat template", "plain": "the prompt and a newline"}
    lines = [f"- prompts: {kind[form['kind']]}"]
    lines += [f"- system prompt: {code(form['system'])}"] if form["system"] else []
    lines += [f"- answers end with: {code(form['end_token'])}"] if form["end_token"] else []
    return lines


def _receipt(export: Values) -> list[str]:
    found, notes = export["receipt"], [f"- {said(note)}" for note in export["notes"]]
    if found is None:
        return ["Not read back: it was exported with `--unchecked`.", *notes]
    labels = found["measure"] == LABELS
    done = "labelled" if labels else "answered"
    tokens = "" if labels else f" ({found['tokens']:,} tokens, greedy)"
    lines = [
        f"After writing, another process read the files and {done} {found['prompts']} prompts"
        f"{tokens}. `lora_magic.json` has the numbers, and the sha256 of every file.",
        "",
        f"- read by: {said(found['reader'])}",
        f"- same {'label' if labels else 'tokens'} as in the notebook: {found['same']} of "
        f"{found['prompts']} prompts",
        f"- largest difference of {found['measure']} from the notebook: "
        f"{figures(found['difference'])}",
        f"- largest difference from what the files should give: {figures(found['worst'])} "
        f"(limit {figures(found['limit'])})",
    ]
    for one in found["differs"]:
        at = f" from token {one['token']}" if one["token"] else ""
        why = f": {said(one['why'])}" if one["why"] else ""
        lines.append(f"- prompt {one['prompt']} differs{at}{why}")
    return [*lines, *(f"- {said(note)}" for note in found["notes"]), *notes]


def _adapter(values: Values) -> list[str]:
    """Settings, run, and what was measured."""
    spec, run = AdapterSpec(**values["settings"]), values["run"]
    method = METHODS[spec.method]
    facts = [f"{name} {run[key]}" for key, name in _RUN if run.get(key) is not None]
    flags = run.get("flags")
    return [
        f"- method: {method.title} ({method.source}): {said(spec.line)}",
        f"- training: {said(History(**values['history']).line)}",
        *([f"- last run: {', '.join(facts)}"] if facts else []),
        *([f"- flags: {code(json.dumps(flags, ensure_ascii=False))}"] if flags else []),
        *([f"- rows: sha256 {code(run['data_sha256'])}"] if run.get("data_sha256") else []),
        *_measured(run),
        *([f"- made from: {', '.join(map(code, values['parents']))}"] if values["parents"] else []),
    ]


def _measured(run: Values) -> list[str]:
    """Held-out loss, forgetting and evaluations; losses in nats per token."""
    before, after, base = (
        run.get(name) for name in ("held_out_before", "held_out_after", "base_held_out")
    )
    lines = []
    if after is not None:
        own = f"- held-out loss: {figures(before)} → {figures(after)} nats per token"
        lines = [own + (f"; the base's: {figures(base)}" if base is not None else "")]
    if sweep := run.get("sweep"):
        lines.append(
            f"- chosen from {sweep.get('arms')} runs; loss on rows that did not choose: "
            f"{figures(sweep.get('reported'))}; the base's: {figures(sweep.get('base_loss'))}"
        )
    lines += _forgotten(run.get("forgetting") or {})
    if guard := run.get("guard"):
        lines.append(
            f"- guard, loss on {guard.get('rows')} general rows: {figures(guard.get('before'))} "
            f"→ {figures(guard.get('after'))}"
        )
    for rows, found in (run.get("evaluations") or {}).items():
        pairs = (f"{name} {figures(value)}" for name, value in found["metrics"].items())
        beside = found["base_loss"]
        more = f"; the base's loss {figures(beside)}" if beside is not None else ""
        lines.append(
            f"- evaluated on {found['rows']} rows (sha256 {code(rows[:12])}…): "
            f"{said(', '.join(pairs))}{more}"
        )
    return lines


def _forgotten(found: Values) -> list[str]:
    if found.get("measure") == "answers":
        return [
            f"- forgetting: {found['right']} of {found['questions']} held-out questions answered "
            f"correctly; the base: {found.get('base_right')}"
        ]
    if found.get("measure") == "text":
        return [
            f"- forgetting: loss on general text {figures(found.get('base_loss'))} → "
            f"{figures(found.get('loss'))} nats per token"
        ]
    return []


def _made_with(values: Values, base_id: str) -> list[str]:
    base = values["base"]
    name = f"[{base_id}](https://huggingface.co/{base_id})" if base_id else code(base["name"])
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    return [
        f"- base: {name}, {base['architecture']}, {base['parameters']:,} parameters, "
        f"fingerprint {base['fingerprint']} in {base['format']}",
        f"- {said(versions)}",
        "- exported by lora_magic",
    ]
