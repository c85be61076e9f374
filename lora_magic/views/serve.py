"""A server: its address, how a client asks it, and what it is not for.

Knows text; gets no token, so it can show none.
"""

from __future__ import annotations

from lora_magic.printable import one_line
from lora_magic.views import style
from lora_magic.views.html import tag

#: What the endpoint is not, and what to use instead.
LIMITS = (
    "On loopback only (on Colab, Binder and other remote kernels that is the kernel's machine, not "
    "yours), and one batch at a time; while a verb runs, requests get 503."
)


def bundle(*, line: str, running: bool, model: str, token_required: bool) -> dict[str, object]:
    """A server's MIME bundle: the line, and a program to paste that asks `model`."""
    if not running:
        page = style.frame(style.line(line), label="Server")
        return {"text/plain": one_line(line), "text/html": str(page)}
    model = one_line(model)
    token = "token: server.token" if token_required else "no token is required"
    program, export = snippet(model), f"%lora export {model} --to vllm"
    if model == "base":
        export = "%lora export NAME --to vllm"
    more = (("for real load", export), ("stop it", "%lora serve --stop"))
    page = style.frame(
        style.line(tag("strong", f"serving at {line}"), f" · {token}"),
        style.typed((("ask it", program), *more)),
        style.line(LIMITS, muted=True),
        label="Server",
    )
    plain = [
        one_line(f"serving at {line} · {token}"),
        *(f"  {row}" for row in program.split("\n")),
        *(f"{what}: {command}" for what, command in more),
        LIMITS,
    ]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def snippet(model: str) -> str:
    """The program that asks a model; in the notebook its first line gets the server again."""
    turns = '[{"role": "user", "content": "Hello"}]'
    return "\n".join(
        [
            "server = %lora serve",
            "from openai import OpenAI",
            "client = OpenAI(base_url=server.url, api_key=server.token)",
            f'client.chat.completions.create(model="{model}", messages={turns})',
        ]
    )
