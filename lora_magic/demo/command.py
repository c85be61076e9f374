"""What the command lines of the demo share: flags that are checked, errors in one line, quiet.

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
    """Run a command; a person's mistake ends it with one line and no traceback.

    What the libraries tell of themselves meanwhile is no part of its page.
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
        # Whoever read the page has seen enough; Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        logging.disable(logging.NOTSET)


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The parser of a command; flags are typed in full, or "--step 5" would pass for "--steps"."""
    return argparse.ArgumentParser(
        prog=f"python -m lora_magic.demo.{name}", description=about, allow_abbrev=False
    )


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few; expected 1 or more")
    return number


def above_zero(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no amount; expected a number above 0")
    return number


def width(text: str) -> int:
    """Characters of a page, for argparse."""
    number = positive(text)
    if number < _NARROWEST:
        raise argparse.ArgumentTypeError(f"{number} is too narrow; expected {_NARROWEST} or more")
    return number


def new_file(text: str) -> Path:
    """A path in a folder that is there, for argparse: before all the work, not behind it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; expected a file in it")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.resolve().parent}")
    return path
