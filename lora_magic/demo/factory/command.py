"""Shared by the factory's commands: argument types, one-line errors, no library noise.

Knows argparse; does not know what a command does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from lora_magic.errors import LoraMagicError

_NARROWEST = 20


def run(main: Callable[[], None]) -> None:
    """Run a command; one of our own errors ends it with one line and no traceback.

    Library warnings are suppressed.
    """
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            main()
    except LoraMagicError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")
    except BrokenPipeError:
        # The reader closed the pipe; without this, Python reports it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        logging.disable(logging.NOTSET)


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The parser of a command; no abbreviations, or "--step 5" would mean "--steps"."""
    return argparse.ArgumentParser(
        epilog="Defaults are in parentheses.",
        prog=f"python -m lora_magic.demo.factory.{name}",
        description=about,
        allow_abbrev=False,
    )


def positive(text: str) -> int:
    """Argparse type: a whole number, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def above_zero(text: str) -> float:
    """Argparse type: a finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def width(text: str) -> int:
    """Argparse type: the width of a page in characters."""
    number = positive(text)
    if number < _NARROWEST:
        raise argparse.ArgumentTypeError(f"expected {_NARROWEST} or more, got {number}")
    return number


def new_file(text: str) -> Path:
    """Argparse type: a file in an existing folder, checked before the work starts."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file, but {path} is a folder")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.resolve().parent}")
    return path
