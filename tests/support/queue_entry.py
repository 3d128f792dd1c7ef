"""An entry of a queue, without a request behind it."""

import math
from dataclasses import dataclass


@dataclass(eq=False)
class Entry:
    rows: int = 1
    input_bytes: int = 4
    level: int = 0
    deadline: float = math.inf
    arrived: float = 0.0
    key: tuple = ("x",)
    settled: bool = False
    taken: bool = False
    order: int = 0
