"""What llama.cpp makes of GGUF files: token ids, greedy answers, log-probabilities.

    python llama_cpp.py REQUESTS.json RESULTS.json

A plain script for a process of its own, in which an assertion of llama.cpp ends no test run;
`asked` runs it. A request has `model` (a path), `prompts` (lists of ids), `tokens` (how many to
answer with), `banned` (ids that are in no answer) and `texts`; its result has `answers` (ids),
`scores` (log-probabilities of these tokens) and `texts` (ids). Tokens that are no whole characters
have no score, and some versions fail on them: ban these.
"""

import gc
import json
import subprocess
import sys
import urllib.request
from pathlib import Path


def asked(folder, requests):
    """One result for each request."""
    given, results = folder / "requests.json", folder / "results.json"
    given.write_text(json.dumps(requests), encoding="utf-8")
    command = [sys.executable, __file__, str(given), str(results)]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:].decode(errors="replace")
    return json.loads(results.read_text(encoding="utf-8"))


def started(model):
    """A server that computes in 32 bits, as far as the file does."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = 512, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return xllamacpp.Server(params)


def result(server, request):
    """Answers one request."""

    def post(path, **body):
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        call = urllib.request.Request(server.listening_address + path, data, kind)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call) as answer:
            return json.load(answer)

    rule = {"temperature": 0, "samplers": ["top_k"], "top_k": 1, "cache_prompt": False}
    rule |= {"n_predict": request["tokens"], "n_probs": 1, "return_tokens": True}
    rule |= {"logit_bias": [[token, False] for token in request["banned"]]}
    answers = [post("/completion", prompt=prompt, **rule) for prompt in request["prompts"]]
    return {
        "answers": [answer["tokens"] for answer in answers],
        "scores": [
            [row["logprob"] for row in answer["completion_probabilities"]] for answer in answers
        ],
        "texts": [
            post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
            for text in request["texts"]
        ],
    }


if __name__ == "__main__":
    found = []
    for one in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        server = started(one["model"])
        found.append(result(server, one))
        del server
        gc.collect()
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
