"""Where a Ray cluster is: a host and a port, from --address or RAY_ADDRESS, and whether it answers.

Knows addresses and TCP; does not import ray.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing

from lora_magic.errors import WorkerError

#: What Ray calls the cluster that was started on this machine.
AUTO = "auto"

#: Seconds in which a port must accept a connection. Ray itself would try for minutes.
_SECONDS = 5.0

START = "ray start --head"


def chosen(flag: str | None) -> str:
    """The address of --address, else of RAY_ADDRESS, else `AUTO`.

    Raises `WorkerError` for one that has no host and port, and for one that does not answer.
    """
    name, address = "--address", flag
    if not address:
        name, address = "RAY_ADDRESS", os.environ.get("RAY_ADDRESS") or AUTO
    if address == AUTO:
        return AUTO
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise WorkerError(f"{name} {address}: expected HOST:PORT, such as 10.0.0.5:6379")
    if not answers(address):
        raise WorkerError(
            f"{name} {address}: no Ray cluster answers there; start one on that machine, in a "
            f"terminal: {START} --port={port}"
        )
    return address


def answers(address: str, seconds: float = _SECONDS) -> bool:
    """Does the port accept a connection?"""
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), seconds)):
            return True
    except (OSError, OverflowError, UnicodeError):  # the last two: no port, no name of a host
        return False
