"""One picture on its way from a camera to the outlet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.picture import Image
from pipeline.message import Clock


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture with its stamp: when it was taken, as near as that can be known."""

    at: int
    clock: Clock
    image: Image


def without_password(url: str) -> str:
    """The url for logs and the console."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
