"""The verb that answers other programs: serve."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Verb, text, whole

SERVE = Verb(
    "serve",
    "answer OpenAI's chat completions on this machine; the model's name is the adapter",
    (
        Argument("--port", whole, "the port on 127.0.0.1; 0 is any free one"),
        Argument("--token", text, "what clients send as their API key", "drawn"),
        Argument("--no-token", None, "answer every program on this machine"),
        Argument("--stop", None, "stop the server"),
    ),
    ("%lora serve", "server = %lora serve", "%lora serve --port 8000", "%lora serve --stop"),
    changes=True,
    notes=(
        "A client takes base_url=server.url and api_key=server.token. The token is not displayed;",
        "one that is typed in a cell is saved with the notebook, so type --token {variable}. The",
        "defaults are those of ask: the most likely token (temperature 0), 200 tokens, seed 0.",
        "Requests that wait together are answered in one batch; while a verb runs they get 503.",
        "For real load, export the adapter: %lora export NAME --to vllm",
    ),
)
