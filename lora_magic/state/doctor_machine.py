"""What `doctor` finds out about the libraries and the machine; each finding says what to type.

Knows version numbers, devices, memory and folders; knows no adapter. torch is imported by the check
of the versions, which reports it if it cannot be.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from lora_magic.errors import LoraMagicError, sentence
from lora_magic.interrupts import undisturbed
from lora_magic.numbers import size
from lora_magic.reading import free_memory
from lora_magic.scale.local import cores
from lora_magic.versions import TESTED, untested

from .doctor import MACHINE, NOTE, OK, PROBLEM, VERSIONS, Finding, absent, guarded, install

#: What the embedded model needs, and what a small adapter needs; in bytes.
_MEMORY, _DISK = 500_000_000, 100_000_000
#: Libraries whose module has another name, or that one of our modules imports without its notices.
_MODULES = {"ipython": "IPython", "peft": "lora_magic.adapters.bridge.library"}
_OLDEST_PYTHON = (3, 11)
#: A small and a large base, in parameters: on a CPU they get different number formats.
_SMALL, _LARGE = 1_000_000, 7_000_000_000


def versions() -> Iterator[Finding]:
    """Python and every library that we need: its release, and the releases that were tested."""
    yield Finding(VERSIONS, "Python", OK, platform.python_version())
    needed = {requirement.name: requirement for requirement in _requirements()}
    for name in needed:
        yield from guarded(VERSIONS, name, partial(_library, name, needed))


def _requirements() -> list[Requirement]:
    """What our package declares; in a checkout that is not installed, the tested libraries."""
    try:
        declared = requires("lora_magic") or []
    except PackageNotFoundError:
        declared = list(TESTED)
    return [found for found in map(Requirement, declared) if found.marker is None]


def _library(name: str, needed: Mapping[str, Requirement]) -> Finding:
    bounds = needed[name].specifier
    try:
        found = version(name)
        with undisturbed():  # an interrupted import of torch cannot be repeated
            _import(name)
    except PackageNotFoundError:
        return Finding(VERSIONS, name, PROBLEM, "not installed", install(f"{name}{bounds}"))
    except Exception as error:  # noqa: BLE001  # a broken library raises anything
        return _broken(name, error, needed)
    if not bounds.contains(Version(found).public, prereleases=True):
        return Finding(
            VERSIONS, name, PROBLEM, f"{found}, expected {bounds}", install(f"{name}{bounds}")
        )
    if name not in TESTED:
        return Finding(VERSIONS, name, OK, found)
    oldest, newest = TESTED[name]
    tested = f"tested: {oldest}" + (f" to {newest}" if newest != oldest else "")
    if untested(name):
        usual = f"if something fails: {install(f'{name}=={newest}')}"
        return Finding(VERSIONS, name, NOTE, f"{found} is untested; {tested}", usual)
    return Finding(VERSIONS, name, OK, f"{found} ({tested})")


def _broken(name: str, error: Exception, needed: Mapping[str, Requirement]) -> Finding:
    """A library that cannot be imported: by itself, or because another one is missing."""
    cause = error.__cause__ if isinstance(error, LoraMagicError) else error
    other = absent(cause) if isinstance(cause, ImportError) and cause.name else name
    if other.lower() != name:
        bounds = needed[other].specifier if other in needed else ""
        advice = install(f"{other}{bounds}")
        return Finding(VERSIONS, name, PROBLEM, f"cannot be imported: it needs {other}", advice)
    why = f"cannot be imported ({type(cause).__name__}: {sentence(cause)})"
    advice = install(f"{name}{needed[name].specifier}", "--force-reinstall ")
    return Finding(VERSIONS, name, PROBLEM, why, advice)


def _import(name: str) -> None:
    if name == "bitsandbytes":
        from lora_magic.base.quantise import bitsandbytes

        bitsandbytes()
    else:
        importlib.import_module(_MODULES.get(name, name))


def machine(home: Path) -> Iterator[Finding]:
    """Device, number formats and threads, if torch can be imported; memory; the home folder."""
    if sys.modules.get("torch") is not None:
        yield from guarded(MACHINE, "device", _device)
        yield from guarded(MACHINE, "number formats", _formats)
        yield from guarded(MACHINE, "threads", _threads)
    yield from guarded(MACHINE, "memory", _memory)
    yield from guarded(MACHINE, "home folder", lambda: _home(home))


def _device() -> Finding:
    import torch

    from lora_magic.base.device import choose_device

    device = choose_device(None)
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        text = f"{device.type}: {found.name}, {size(free)} of {size(total)} free"
        return Finding(MACHINE, "device", OK, text)
    if shutil.which("nvidia-smi") is None:
        apple = "; an Apple GPU only with --device mps" if torch.backends.mps.is_available() else ""
        return Finding(MACHINE, "device", OK, f"cpu: no NVIDIA GPU here{apple}")
    if torch.version.cuda is None:
        advice = "install torch's build for CUDA, then restart the kernel"
        return Finding(MACHINE, "device", PROBLEM, "cpu: this torch is built without CUDA", advice)
    why = f"cpu: torch for CUDA {torch.version.cuda} finds no GPU"
    return Finding(MACHINE, "device", PROBLEM, why, "check the driver: !nvidia-smi")


def _formats() -> Finding:
    import torch

    from lora_magic.base.device import choose_device, choose_dtype, short_name

    device = choose_device(None)
    small, large = (choose_dtype(None, device, torch.bfloat16, count) for count in (_SMALL, _LARGE))
    text = f"{short_name(small[0])}: {small[1]}"
    if large != small:
        text += f"; a large base {short_name(large[0])}: {large[1]}"
    return Finding(MACHINE, "number formats", OK, text)


def _threads() -> Finding:
    import torch

    found, threads = cores(), torch.get_num_threads()
    given = os.environ.get("OMP_NUM_THREADS", "")
    # The report shows this line: only a number is shown of what a person has set.
    setting = (given if given.isdecimal() else "not a number") if given else "not set"
    text = f"torch uses {threads} of {found} cores; OMP_NUM_THREADS is {setting}"
    if threads <= found:
        return Finding(MACHINE, "threads", OK, text)
    advice = f"threads wait for each other; type: import torch; torch.set_num_threads({found})"
    return Finding(MACHINE, "threads", NOTE, text, advice)


def _memory() -> Finding:
    free = free_memory()
    if free is None:
        return Finding(MACHINE, "memory", OK, "this system does not say how much is free")
    text = f"{size(free)} free"
    if free >= _MEMORY:
        return Finding(MACHINE, "memory", OK, text)
    advice = "close other notebooks and shut down their kernels, or type: %lora reset"
    return Finding(MACHINE, "memory", PROBLEM, f"{text}, expected {size(_MEMORY)}", advice)


def _home(home: Path) -> Finding:
    """The folder for adapters, or the nearest one above it that exists; tried by writing there."""
    elsewhere = "adapters can be saved elsewhere: %lora save NAME FOLDER"
    try:
        path = home.absolute()
        folder = next(one for one in (path, *path.parents) if one.is_dir())
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"tried")
        free = shutil.disk_usage(folder).free
    except (OSError, StopIteration) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Finding(MACHINE, "home folder", PROBLEM, f"cannot be written: {why}", elsewhere)
    text = f"{size(free)} free on disk"
    if free >= _DISK:
        return Finding(MACHINE, "home folder", OK, text)
    advice = f"free some space; {elsewhere}"
    return Finding(MACHINE, "home folder", PROBLEM, f"{text}, expected {size(_DISK)}", advice)
