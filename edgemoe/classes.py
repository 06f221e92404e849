"""The EMNIST class sets, and the official merges between them.

Source: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters",
arXiv 1702.05373 (2017), section II: the ByMerge scheme joins the upper and lower case of
C I J K L M O P S U V W X Y Z, whose two forms look alike.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["CLASS_SETS", "class_set", "merge_labels"]

_DIGITS = "0123456789"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

CLASS_SETS: dict[str, str] = {
    "digits": _DIGITS,
    "letters": _CAPITALS,
    "balanced": _DIGITS + _CAPITALS + "abdefghnqrt",
    "byclass": _DIGITS + _CAPITALS + _CAPITALS.lower(),
}
"""The characters of each set, in EMNIST's order; a class index is a position in the string."""


def class_set(name: str) -> str:
    """Return the characters of a class set.

    Raises
    ------
    EdgemoeError
        If no class set has that name.
    """
    if name not in CLASS_SETS:
        raise EdgemoeError(f"no class set is called {name!r}; there are {', '.join(CLASS_SETS)}")
    return CLASS_SETS[name]


def merge_labels(labels: Iterable[str], classes: Iterable[str], source: str = "labels") -> npt.NDArray[np.str_]:
    """Map labels onto a class set by the official EMNIST rule.

    A label that the set has stays as it is; a lower-case letter that it lacks becomes its capital.

    Parameters
    ----------
    labels : iterable of str, length n
        One character each.
    classes : iterable of str
        The characters of the target set.
    source : str
        What the error message calls the labels: a file's name, say.

    Returns
    -------
    ndarray of str, shape (n,)

    Raises
    ------
    EdgemoeError
        If a label has no place in the set.

    Examples
    --------
    >>> merge_labels(["a", "c", "7"], CLASS_SETS["balanced"]).tolist()
    ['a', 'C', '7']
    """
    known = set(classes)
    rule = {c: c for c in known} | {c.lower(): c for c in known if c.isupper() and c.lower() not in known}
    values = [str(label) for label in labels]
    strangers = sorted({v for v in values if v not in rule})
    if strangers:
        raise EdgemoeError(f"{source}: label {strangers[0]!r} is none of the {len(known)} classes")
    return np.array([rule[v] for v in values], dtype="<U1")
