"""The most memory that activations take at once."""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

__all__ = ["peak_bytes"]


def peak_bytes(
    steps: Sequence[tuple[Collection[str], str]],
    sizes: Mapping[str, int],
    inputs: Collection[str],
    outputs: Collection[str],
) -> int:
    """Return the largest sum of the sizes of tensors alive at one step.

    A tensor lives from the step that writes it to the last that reads it; the inputs from the first step on, and the
    outputs to the last one. No step writes over its own input.

    Parameters
    ----------
    steps : sequence of (names, name)
        What each step reads and writes, in order.
    sizes : mapping of str to int
        In bytes; a name without a size takes none.
    """
    last = dict.fromkeys(outputs, len(steps) - 1)
    first = dict.fromkeys(inputs, 0)
    for i, (reads, written) in enumerate(steps):
        for name in (*reads, written):
            first.setdefault(name, i)
            last[name] = max(last.get(name, 0), i)
    change = [0] * (len(steps) + 1)
    for name in first.keys() & last.keys() & sizes.keys():
        change[first[name]] += sizes[name]
        change[last[name] + 1] -= sizes[name]
    return max(accumulate(change))
