"""What llama.cpp reads in a GGUF file, against the session's own model.

Compared are token ids, of the prompts, of fifty texts and of added tokens; greedy ids; and
log-probabilities of the answers' tokens, since greedy ids alone miss many a wrong tensor:

    limit = max(1e-4, 4·noise), in f32 at most 5e-3
    noise = max |log p − log p without rounding of inputs, in float64|

and their root mean square is at most max(1e-4, 3·that of the noise): roundings of which none is
the same differ by √2 times it.

Expected is the session's model with what the file holds, computed as llama.cpp does (see
`arithmetic`). In f32 the noise is that of sums in 32 bits; in q8_0 it is some tenths, with a root
mean square of some hundredths, in which an error in a small adapter can hide. Knows the session's
model and one reader; writes nothing but a base in a temporary folder, for an adapter alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.device import short_name
from lora_magic.base.prompt import PromptForm
from lora_magic.base.tokens import token_ids
from lora_magic.errors import ExportError
from lora_magic.export.check import cut, first_other, largest, refuse_other_tokens
from lora_magic.export.job import Job, Options
from lora_magic.export.process import ReadBack, read_back
from lora_magic.export.receipt import LOG_PROBABILITIES, Check, PromptCheck
from lora_magic.export.reference import Reference, answered, replayed
from lora_magic.export.weights import folded
from lora_magic.numbers import figures, size

from . import adapter
from .architectures import architecture_of, full_window
from .arithmetic import LlamaCpp
from .quantise import chosen
from .texts import LONG, added, texts
from .tokenizer import vocabulary_of

#: How far log-probabilities may be apart where rounding is no reason.
LIMIT = 1e-4

#: How far they may be apart in f32 at most: GELU from a 16-bit table moves them by up to 2e-3.
_MOST = 5e-3

#: The largest of some hundred differences, over that of as many others of the same size.
_NOISES = 4

#: The root mean square of differences, over that of the noise: √2 and room for few tokens.
_MEAN_NOISES = 3

#: The likeliest tokens that are scored: the answer's is among them unless the file is wrong.
_TOP = 20

#: Tokens of the long text at most, and of its answer.
_LONG, _LONG_ANSWER = 400, 4

#: An error of llama.cpp's log: time, level, function, and what it says.
_ERROR = re.compile(r"^\S+ E (?:\w+ +)?[^:]+: (?:error loading model: )?(.*)$", re.MULTILINE)
_CRASH = re.compile(r"^.*(?:GGML_ASSERT|what\(\):).*$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class _Expected:
    """Log-probabilities [T, V] at the tokens of each answer, and how far from them is allowed:
    each one, and the root of the mean square.
    """

    scores: tuple[Tensor, ...]
    limit: float
    mean: float


def check(job: Job, folder: Path, notebook: Reference) -> Check:
    """Read the one .gguf file of `folder` with llama.cpp; an adapter alone, over its base.

    Raises `ExportError` with the first thing that differs, or with llama.cpp's reason if it cannot
    read the file.
    """
    began = time.perf_counter()
    form, tokenizer = job.form, job.base.needs_tokenizer()
    if form is None:
        raise ExportError("--to gguf: llama.cpp reads no classifier; type: --to merged")
    all_texts = (*texts(tokenizer.all_special_tokens), *added(_added(tokenizer)))
    probes = vocabulary_of(job).comparable(all_texts)
    asked = _with_long(job, notebook)
    with tempfile.TemporaryDirectory(prefix="lora_magic-") as room:
        found = _read(_request(job, form, folder, Path(room), asked, probes))
    count = len(notebook.prompts)
    # The long text is made of the short ones, by which an error is easier to see.
    refuse_other_tokens(notebook, replace(found, inputs=found.inputs[:count]))
    _refuse_other_texts(tokenizer, probes, found)
    expected = _expected(job, asked)
    rows, apart = [], []
    for place in range(len(asked.prompts)):
        row, off = _row(job, asked, expected, found, place)
        rows.append(row)
        apart.append(off)
    mean = _mean(torch.cat(apart))
    if not mean <= expected.mean:
        raise ExportError(
            f"{found.reader} differs from this notebook: for all prompts, "
            f"the root mean square of differences of {LOG_PROBABILITIES} is {figures(mean)}, "
            f"expected at most {figures(expected.mean)}; nothing was kept."
        )
    worst = largest(torch.cat(apart))
    notes = (
        f"{len(probes)} of {len(all_texts)} texts were compared, and have the same token ids",
        *(f"a text of {len(row)} tokens was compared too" for row in asked.inputs[count:]),
        *_notes(job, form, asked, found),
    )
    return Check(
        reader=found.reader,
        measure=LOG_PROBABILITIES,
        prompts=tuple(rows[:count]),
        worst=worst,
        limit=expected.limit,
        notes=notes,
        seconds=time.perf_counter() - began,
    )


def _added(tokenizer: Any) -> list[str]:
    """The texts of the added tokens, in the order of their ids."""
    return [str(token) for _, token in sorted(tokenizer.added_tokens_decoder.items())]


def _with_long(job: Job, notebook: Reference) -> Reference:
    """The prompts, and a long text: short ones hide a wrong scale of positions in rounding.

    It fits the context, and a window that llama.cpp lacks.
    """
    config: Any = job.base.model.config
    room = min(job.base.context, full_window(config) or job.base.context) - _LONG_ANSWER
    tokenizer, form, text = job.base.needs_tokenizer(), job.form, LONG
    assert form is not None  # a classifier was refused
    while (count := len(form.encode(tokenizer, text))) > min(room, _LONG):
        text = text[: len(text) * 3 // 4].rstrip()
        if not text:
            return notebook
    long = answered(job.base, job.slots, job.modules, form, [text], count + _LONG_ANSWER)
    return Reference(
        notebook.prompts + long.prompts,
        notebook.inputs + long.inputs,
        notebook.answers + long.answers,
        notebook.logits + long.logits,
    )


def _request(
    job: Job,
    form: PromptForm,
    folder: Path,
    room: Path,
    notebook: Reference,
    probes: Sequence[str],
) -> dict[str, Any]:
    """What the reader is asked; an adapter's base is written into `room` first."""
    (file,) = folder.glob("*.gguf")
    files = {"model": str(file)}
    if job.options.adapter_only:
        files = {"model": str(_base_file(job, room)), "adapter": str(file)}
    longest = max(
        len(row) + len(answer)
        for row, answer in zip(notebook.inputs, notebook.answers, strict=True)
    )
    return {
        **files,
        "context": longest + 1,
        "threads": torch.get_num_threads(),
        "log": str(room / "log"),
        "top": _TOP,
        "texts": probes,
        "prompts": [
            {"ids": row, "answer": answer, **_texts_of(job, form, prompt)}
            for prompt, row, answer in zip(
                notebook.prompts, notebook.inputs, notebook.answers, strict=True
            )
        ],
    }


def _base_file(job: Job, room: Path) -> Path:
    """The base alone as GGUF, in the adapter's own number format."""
    from .format import Gguf  # which imports this file

    options = Options(quantise=chosen(job.options.quantise, job.base.dtype))
    base, format = replace(job, name="base", attached=None, options=options), Gguf()
    needed, free = format.bytes(base), shutil.disk_usage(room).free
    if needed > free:
        raise ExportError(
            f"--adapter-only is checked over the base's own GGUF file, {size(needed)}, and "
            f"{room.parent} has {size(free)} free; free some, or type: --unchecked"
        )
    job.say(f"writing the base for llama.cpp, {size(needed)} …")
    folder = room / "base"
    folder.mkdir()
    format.write(base, folder)
    (file,) = folder.glob("*.gguf")
    job.say("reading both back in another process …")
    return file


def _texts_of(job: Job, form: PromptForm, prompt: str) -> dict[str, Any]:
    """A prompt's text, whether a tokenizer adds its own tokens to it, and its turns for a chat."""
    turns = form.conversation([{"role": "user", "content": prompt}])
    chat = form.kind == "chat"
    return {
        "text": form.text_of(job.base.tokenizer, turns),
        "special": not chat,
        "messages": [dict(turn) for turn in turns] if chat else None,
    }


def _read(request: Mapping[str, Any]) -> ReadBack:
    """The reader's answer; an error has llama.cpp's own reason."""
    what = Path(str(request.get("adapter") or request["model"])).name
    try:
        return read_back("with_llama_cpp", request, what)
    except ExportError as error:
        log = Path(request["log"])
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if (reason := _reason(said)) is None:
            raise
        raise ExportError(f"llama.cpp cannot read {what}: {reason}; nothing was kept.") from error


def _reason(log: str) -> str | None:
    """The first error in llama.cpp's log, without the path of a file in a temporary folder."""
    found = _CRASH.search(log) or _ERROR.search(log)
    if found is None:
        return None
    said = found.group(1) if found.re is _ERROR else found.group()
    return re.sub(r"/\S*/", "", said).strip()


def _refuse_other_texts(tokenizer: Any, probes: Sequence[str], found: ReadBack) -> None:
    for text, there in zip(probes, found.facts["texts"], strict=True):
        here = token_ids(tokenizer, text)
        if here != there:
            raise ExportError(
                f"{found.reader} reads the text {text!r} as the tokens {_some(there)}, this "
                f"tokenizer as {_some(here)}: its pre-tokenizer or token types differ; nothing was "
                "kept. Type: --to merged"
            )


def _expected(job: Job, notebook: Reference) -> _Expected:
    """The session's model with what the file holds, computed as llama.cpp does."""
    modules = adapter.modules(job) if job.options.adapter_only else folded(job)
    quantise = chosen(job.options.quantise, job.base.dtype)
    exact = torch.float32 if job.base.device.type == "mps" else torch.float64
    both = []
    for arithmetic in (LlamaCpp(quantise), LlamaCpp(quantise, exact)):
        with arithmetic:
            logits = replayed(job.base, job.slots, modules, notebook).logits
        both.append(tuple(one.double().log_softmax(-1) for one in logits))
    noise = torch.cat(
        [
            _own(one, answer) - _own(other, answer)
            for one, other, answer in zip(*both, notebook.answers, strict=True)
        ]
    )
    limit = max(LIMIT, _NOISES * largest(noise))
    if quantise == "f32":
        limit = min(limit, max(LIMIT, _MOST))
    return _Expected(both[0], limit, max(LIMIT, _MEAN_NOISES * _mean(noise)))


def _row(
    job: Job, notebook: Reference, expected: _Expected, found: ReadBack, place: int
) -> tuple[PromptCheck, Tensor]:
    """One prompt's row, and how far its tokens are from what is expected."""
    prompt = cut(notebook.prompts[place])
    answer, given = notebook.answers[place], found.answers[place]
    wanted = expected.scores[place]
    read = _scored(found.facts["scores"][place], answer)
    apart = (_own(wanted, answer) - read).abs()
    off = largest(apart)
    if not off <= expected.limit:
        raise ExportError(
            f"{found.reader} differs from this notebook: for {prompt}, token "
            f"{int(apart.argmax()) + 1}, {LOG_PROBABILITIES} are {figures(off)} apart, expected at "
            f"most {figures(expected.limit)}; nothing was kept."
        )
    if (wrong := _wrong(wanted, given, expected.limit)) is not None:
        raise ExportError(
            f"{found.reader} answers {prompt} with another token {wrong + 1} ({given[wrong]}, "
            f"expected {int(wanted[wrong].argmax())}); nothing was kept."
        )
    here = notebook.logits[place].double().log_softmax(-1)
    difference = largest(_own(here, answer) - read)
    at = first_other(answer, given)
    why = _why(job) if at is not None or difference > LIMIT else ""
    row = PromptCheck(notebook.prompts[place], len(answer), at is None, difference, at, why)
    return row, apart


def _own(scores: Tensor, answer: Sequence[int]) -> Tensor:
    """[T] of [T, V]: the log-probabilities of the answer's own tokens."""
    return scores[torch.arange(len(answer)), list(answer)]


def _scored(rows: Sequence[Sequence[tuple[int, float]]], answer: Sequence[int]) -> Tensor:
    """[T], the log-probabilities that llama.cpp gives the answer's tokens.

    A token that is not among the likeliest gets the last one's, which is an upper bound.
    """
    return torch.tensor(
        [dict(row).get(token, row[-1][1]) for row, token in zip(rows, answer, strict=True)],
        dtype=torch.float64,
    )


def _wrong(wanted: Tensor, given: Sequence[int], limit: float) -> int | None:
    """The first token that is not greedy; two that are closer than twice the limit are a tie."""
    gaps = (float(row.max() - row[token]) for row, token in zip(wanted, given, strict=True))
    return next((at for at, gap in enumerate(gaps) if gap >= 2 * limit), None)


def _why(job: Job) -> str:
    """What makes llama.cpp's answers differ from the notebook's, where the file is right."""
    quantise = chosen(job.options.quantise, job.base.dtype)
    name = short_name(job.base.dtype)
    reasons = [] if quantise == "f32" else [f"rounding to {quantise}"]
    if "gelu" in architecture_of(job.base.model.config).activation:
        reasons.append("llama.cpp's GELU has 16 bits")
    if job.base.dtype != torch.float32:
        reasons.append(f"the notebook computes in {name}")
        if job.modules and not job.options.adapter_only:
            reasons.append(f"W0 + ΔW is rounded to {name}")
    return ", ".join(reasons) or "sums in another order"


def _notes(job: Job, form: PromptForm, notebook: Reference, found: ReadBack) -> tuple[str, ...]:
    """Where llama.cpp's own prompts and ends of answers are others than the notebook's."""
    notes = []
    for prompt, ids, chat in zip(
        notebook.prompts, notebook.inputs, found.facts["chats"], strict=True
    ):
        if chat is not None and chat != list(ids):
            why = chat if isinstance(chat, str) else "the template gives other tokens"
            notes.append(
                f"llama.cpp's chat endpoint does not read {cut(prompt)} as it is read here "
                f"({why}): send the prompt as text to /completion"
            )
            break
    for answer, stops in zip(notebook.answers, found.facts["stops"], strict=True):
        ended = answer[-1] in form.stop_ids
        if ended and len(answer) not in stops:
            name = job.base.tokenizer.convert_ids_to_tokens(answer[-1])
            notes.append(f"llama.cpp does not end an answer at {name}: send it as a stop string")
            break
        if early := [at for at in stops if at < len(answer) or not ended]:
            name = job.base.tokenizer.convert_ids_to_tokens(answer[early[0] - 1])
            notes.append(f"llama.cpp ends an answer at {name}, the notebook does not")
            break
    return tuple(notes)


def _mean(values: Tensor) -> float:
    """The root of the mean square."""
    return float(values.square().mean().sqrt()) if values.numel() else 0.0


def _some(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids[:8])) + (" …" if len(ids) > 8 else "")
