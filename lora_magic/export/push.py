"""Uploads an export to a hub."""

from __future__ import annotations

from lora_magic.errors import ExportError

from .receipt import Export


def plan(repo: str, *, public: bool, yes: bool) -> str:
    """Check where an export is to go, before anything is written."""
    raise ExportError(f"--push {repo}: not supported yet; omit it.")


def upload(planned: str, made: Export) -> str:
    """Upload a folder; returns its address."""
    raise ExportError(f"--push {planned}: not supported yet; omit it.")
