"""Numbers as the text of C arrays."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["c_array"]

WIDTH = 120  # columns of a line


def c_array(kind: str, name: str, values: npt.NDArray[np.integer], comment: str) -> str:
    """Return a constant array of one file, with a comment above it that gives its shape.

    Parameters
    ----------
    kind, name : str
        Type of an element, and the array's name.
    values : ndarray of int
        Written flat, in C order.
    comment : str
    """
    lines = "\n".join(_wrapped(str(value) for value in values.ravel()))
    return f"/* {comment} */\nstatic const {kind} {name}[{values.size}] EM_ALIGNED = {{\n{lines}\n}};\n"


def _wrapped(numbers: Iterable[str]) -> Iterator[str]:
    line = "   "
    for number in numbers:
        if len(line) + len(number) + 2 > WIDTH:
            yield line
            line = "   "
        line += f" {number},"
    yield line
