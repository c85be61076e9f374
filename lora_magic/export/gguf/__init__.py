"""GGUF files: a merged model, or an adapter alone, for llama.cpp. The only folder with gguf."""

from lora_magic.errors import ExportError

try:
    import gguf  # noqa: F401  # the one place that says what to install
except ImportError:
    raise ExportError(
        "--to gguf needs the package gguf, which is not installed; type: "
        '%pip install "lora_magic[gguf]"'
    ) from None
