"""Spare symbols: characters that a user teaches and the global expert has no class for.

The local expert has a row for each. What the row corrects is a base that is as far below the global expert's classes
taken together (their logits' log-sum-exp) as `RARE` says, so that the row decides on the strength of its own evidence,
however sure the global expert is of a class that cannot be right. To the global expert alone a spare symbol is
impossible: its logit lies `FAR` below, where float32's softmax is exactly 0, and only the local expert's correction
makes up for it, once the symbol has been taught.
"""

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["MOST", "check_symbols", "lift", "spare_logits"]

MOST = 64  # spare symbols in a profile
RARE = 4.0  # how far below the classes a base lies; of 0, 2, 4, 6, chosen on writers_small.npz and simulated symbols
FAR = 1000.0  # exp(-1000) is 0, and float32 still keeps 1/16,000 of a logit there


def check_symbols(symbols: str, classes: str = "") -> str:
    """Return the symbols if they can be taught beside some classes.

    Raises
    ------
    EdgemoeError
        If one is given twice, is a class already, cannot be printed, or there are more than `MOST`.
    """
    if not isinstance(symbols, str) or len(symbols) > MOST:
        raise EdgemoeError(f"symbols: expected a string of at most {MOST} characters")
    for symbol in symbols:
        if not symbol.isprintable() or symbol.isspace():
            raise EdgemoeError(f"symbols: {symbol!r} cannot be printed")
        if symbol in classes or symbols.count(symbol) > 1:
            raise EdgemoeError(f"symbols: {symbol!r} is given twice, or is one of the global expert's classes")
    return symbols


def spare_logits(logits: npt.NDArray[np.float32], taught: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Append the base logits of spare symbols to the global expert's: ``(n, C)`` becomes ``(n, C + S)``.

    Parameters
    ----------
    logits : ndarray of float32, shape (n, C)
    taught : ndarray of bool, shape (S,)
        The symbols to put `RARE` below the log-sum-exp of the others, as training does with those that were taught; the
        rest lie `FAR` below, as all do where the global expert answers.
    """
    if not len(taught):
        return logits
    top = logits.max(axis=1, keepdims=True)
    together = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return np.concatenate([logits, together - np.where(taught, np.float32(RARE), np.float32(FAR))], axis=1)


def lift(correction: npt.NDArray[np.float32], taught: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Make a correction ``(n, C + S)`` of training's base logits one of the global expert's.

    Symbols that were taught ``(S,)`` rise from `FAR` to `RARE`.
    """
    if not len(taught):
        return correction
    result = correction.copy()
    result[:, -len(taught) :] += np.where(taught, np.float32(FAR - RARE), np.float32(0))
    return result
