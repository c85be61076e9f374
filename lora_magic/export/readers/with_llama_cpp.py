"""Reads a GGUF file with llama.cpp: token ids, greedy answers and log-probabilities.

    python with_llama_cpp.py REQUEST.json RESULTS

Imports no other library, so that llama.cpp alone decides what the file holds. REQUEST has
`model` and perhaps `adapter` (paths), `context` and `threads` (numbers), `log` (the path for what
llama.cpp prints), `top` (how many tokens to score), `prompts` and `texts`. A prompt has the `ids`
that the notebook read and the `answer` that it gave, the `text` of these ids with `special` (does
the tokenizer add its own tokens to it?), and `messages` for the chat template, or null.

RESULTS/result.json gets `reader`, `inputs` and `answers`, and per prompt `scores`: after each token
of the notebook's answer, the `top` likeliest next ones, as [id, log-probability]; `stops`: after
how many tokens of the answer llama.cpp would end it; `chats`: the ids of `messages`; `texts`: the
ids of the texts.

Numbers stay comparable: keys and values are cached in 32 bits, attention is not fused, and the
weights are not repacked.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: A reader on this machine is never asked through a proxy.
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

#: The likeliest token, without a penalty for those that came before.
GREEDY = {
    "temperature": 0,
    "samplers": ["top_k"],
    "top_k": 1,
    "cache_prompt": False,
    "return_tokens": True,
}

#: (id, log-probability) of the likeliest tokens in one place.
Scores = list[tuple[int, float]]


def started(asked: Mapping[str, Any]) -> tuple[Any, str]:
    """llama.cpp's server over the file, and the engine's name with its version."""
    import xllamacpp  # type: ignore[import-untyped]  # it has no stubs

    params = xllamacpp.CommonParams()
    params.model.path = asked["model"]
    if asked.get("adapter"):
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = asked["adapter"], 1.0
        params.lora_adapters = [adapter]
    params.n_ctx, params.n_parallel, params.n_gpu_layers = asked["context"], 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.no_extra_bufts = True
    params.fit_params = params.warmup = False
    params.use_jinja = True
    params.port = 0
    return xllamacpp.Server(params), f"llama.cpp (xllamacpp {xllamacpp.__version__})"


class Engine:
    """What the server answers; raises RuntimeError with its reason."""

    def __init__(self, server: Any) -> None:
        self.address = server.listening_address

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer of one of its paths."""
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with OPEN(request) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode(errors='replace')[:300]}") from None

    def ids(self, text: str, special: bool) -> list[int]:
        """Token ids of a text; special tokens written in it are read as such."""
        asked = {"content": text, "add_special": special, "parse_special": True}
        return list(self.ask("/tokenize", **asked)["tokens"])

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int] | str:
        """The ids of a conversation as the chat endpoint reads it, or why it cannot."""
        try:
            text = self.ask("/apply-template", messages=messages)["prompt"]
        except RuntimeError as error:
            return str(error)
        return self.ids(text, True)

    def scores(
        self, ids: Sequence[int], answer: Sequence[int], top: int
    ) -> tuple[list[Scores], list[int]]:
        """The likeliest tokens in the place of each one of `answer`, and where the engine ends it.

        The engine answers until it chooses another token, and is asked again after the right one.
        """
        found: list[Scores] = []
        stops: list[int] = []
        while (done := len(found)) < len(answer):
            prompt, left = [*ids, *answer[:done]], len(answer) - done
            given = self.ask("/completion", prompt=prompt, n_predict=left, n_probs=top, **GREEDY)
            # The first byte of a character has no row: what follows is the last byte's, if any.
            rows, tokens = given.get("completion_probabilities", []), given["tokens"]
            for row, token in zip(rows, tokens[:left], strict=False):
                if row["id"] != token:
                    break
                found.append(scores_of(row))
                if token != answer[len(found) - 1]:
                    break
            else:
                if given["stop_type"] == "eos" and len(found) - done == len(tokens):
                    stops.append(len(found))
            if len(found) == done:
                found.append(self.next(prompt, top))
        return found, stops

    def next(self, prompt: Sequence[int], top: int) -> Scores:
        """The likeliest next tokens, also where the likeliest is a part of a character.

        Scores are those before a bias is added, and the bias chooses a whole character.
        """
        bias = [[self.ids("a", False)[-1], 1000.0]]
        asked = {"prompt": prompt, "n_predict": 1, "n_probs": top, "logit_bias": bias, **GREEDY}
        return scores_of(self.ask("/completion", **asked)["completion_probabilities"][0])


def scores_of(row: Mapping[str, Any]) -> Scores:
    """(id, log-probability) of the likeliest tokens in one place, the likeliest first."""
    return [(one["id"], one["logprob"]) for one in row["top_logprobs"]]


def read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the request asks for."""
    server, name = started(asked)
    engine, prompts = Engine(server), asked["prompts"]
    found = [engine.scores(one["ids"], one["answer"], asked["top"]) for one in prompts]
    return {
        "reader": name,
        "inputs": [engine.ids(one["text"], one["special"]) for one in prompts],
        "answers": [[step[0][0] for step in scores] for scores, _ in found],
        "scores": [scores for scores, _ in found],
        "stops": [stops for _, stops in found],
        "chats": [one["messages"] and engine.chat(one["messages"]) for one in prompts],
        "texts": [engine.ids(text, False) for text in asked["texts"]],
    }


def main(request: str, results: str) -> int:
    """Answers a request; what goes wrong is the last line on stderr."""
    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    errors = os.fdopen(os.dup(2), "w")
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        found = read(asked)
        Path(results, "result.json").write_text(json.dumps(found), encoding="utf-8")
    except ImportError as error:
        print(f"{error}; install it with: pip install 'lora_magic[gguf]'", file=errors)
        return 1
    except Exception as error:  # noqa: BLE001 (whatever it is, its text is what the notebook shows)
        print(error, file=errors)
        return 1
    return 0


def end_with_its_parent() -> None:
    """End this process once the one that holds the other end of its input is gone."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=end_with_its_parent, daemon=True).start()
    sys.exit(main(*sys.argv[1:]))
