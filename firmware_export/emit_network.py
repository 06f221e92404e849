"""Writes a network as C: its macros, and em_network.c, which calls the kernels with all sizes constant."""

from dataclasses import dataclass

import numpy as np

from firmware_export.c_array import c_array
from firmware_export.layers import SIDE, Convolution, Dense, Layer, Network

__all__ = ["emit_network"]


def emit_network(network: Network) -> tuple[str, str]:
    """Return the macros for edgemoe_model.h and the text of em_network.c.

    em_network.c includes em_kernels.h, and em_internal.h for the macros and the declaration of its function. With
    EM_NETWORK_ONLY defined it needs neither macros nor declaration, and compiles with the kernels' headers alone.
    """
    steps = _steps(network)
    channels, rows, columns = network.feature_map
    macros = {
        "EM_CLASSES": (network.classes, "logits"),
        "EM_CHANNELS": (channels, "of the map that is flattened to the features"),
        "EM_MAP_ROWS": (rows, "of that map"),
        "EM_MAP_COLUMNS": (columns, "of that map"),
        "EM_FEATURES": (network.features, "channels, rows and columns multiplied"),
        "EM_NETWORK_SCRATCH": (_memory(steps), "bytes that em_network works in"),
        "EM_LOGIT_ZERO": (network.dense[-1].zero, "zero point of the logits' codes"),
        "EM_LOGIT_STEP": (f"{np.float32(network.logit_step)!s}f", "value of one step of a logit's code"),
        "EM_FEATURE_STEP": (f"{np.float32(network.feature_step)!s}f", "value of one step of a feature's code"),
    }
    header = "".join(f"#define {name} {value} /* {note} */\n" for name, (value, note) in macros.items())
    constants = [array for step in steps for array in step.arrays]
    return header, "\n".join([_HEAD, *constants, _function(network, steps)])


_HEAD = """/* Generated: the global expert, layer by layer (firmware_export/emit_network.py). */
#ifdef EM_NETWORK_ONLY
#include <stddef.h>
#include <stdint.h>
void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch);
#else
#include "em_internal.h"
#endif
#include "em_kernels.h"
"""


@dataclass(frozen=True)
class _Step:
    """One layer's C.

    Attributes
    ----------
    title : str
    lines : tuple of str
        Statements; they use `input`, `work` and `result`.
    arrays : tuple of str
        Constants.
    work, result : int
        Bytes of working memory, and of the result, rounded up to 8.
    """

    title: str
    lines: tuple[str, ...]
    arrays: tuple[str, ...] = ()
    work: int = 0
    result: int = 0


def _steps(network: Network) -> list[_Step]:
    sizes, steps = network.sizes, list[_Step]()
    first = network.convolutions[0]
    fast = first.kernel == 5 and first.pool and min(sizes[1]) > 1 and first.padding <= 16  # em_kernels_image.h
    if not fast:
        steps.append(_pad(first.padding))
    for index, layer in enumerate(network.convolutions):
        following = network.convolutions[index + 1] if index + 1 < len(network.convolutions) else None
        target = _Map(layer.outputs, *sizes[index + 1], following)
        steps.append((_image if fast and not index else _convolve)(index, layer, sizes[index], target))
    if network.taps:
        steps[-1] = _then(steps[-1], f"em_narrow(result, {network.features}, features);")
    else:
        steps[-1] = _then(steps[-1], "(void)features; /* this network has no such output */")
    for index, dense in enumerate(network.dense, len(network.convolutions)):
        steps.append(_multiply(index, dense))
    steps[-1] = _then(steps[-1], f"em_narrow(result, {network.classes}, logits);")
    return steps


def _then(step: _Step, line: str) -> _Step:
    return _Step(step.title, (*step.lines, line), step.arrays, step.work, step.result)


def _places(steps: list[_Step], total: int) -> list[dict[str, int]]:
    """Return where in `total` bytes each step's input, working memory and result start.

    Inputs and results lie at the two ends by turns, and the working memory between them.
    """
    places, low, read = [], False, 0
    for step in steps:
        if low:
            places.append({"input": 0, "work": read, "result": total - step.result})
        else:
            places.append({"input": total - read, "work": step.result, "result": 0})
        low, read = not low, step.result
    return places


def _memory(steps: list[_Step]) -> int:
    read, most = 0, 0
    for step in steps:
        most = max(most, read + step.work + step.result)
        read = step.result
    return most


def _function(network: Network, steps: list[_Step]) -> str:
    total = _memory(steps)
    lines = [
        f"/* {network.macs:,} multiply-accumulates. image: [{SIDE}][{SIDE}]; features: [{network.features}]; "
        f"logits: [{network.classes}];\n * scratch: {total} bytes, aligned to 8. */",
        "void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch)",
        "{",
        "    unsigned char *const memory = (unsigned char *)scratch;",
    ]
    kinds = {"input": "const int16_t", "work": "em_pair", "result": "int16_t"}
    for step, places in zip(steps, _places(steps, total), strict=True):
        lines += [f"    {{ /* {step.title} */"]
        for name, place in places.items():
            if any(name in line for line in step.lines):
                kind = kinds[name]
                lines.append(f"        {kind} *const {name} = ({kind} *)(void *)(memory + {place});")
        lines += [f"        {line}" for line in step.lines]
        lines.append("    }")
    return "\n".join([*lines, "}\n"])


@dataclass(frozen=True)
class _Map:
    """A convolution's result in memory: channel-last with the next one's padding around it, or as it is flattened."""

    channels: int
    rows: int
    columns: int
    next: Convolution | None

    @property
    def padding(self) -> int:
        return self.next.padding if self.next else 0

    @property
    def size(self) -> int:
        """Codes."""
        return (self.rows + 2 * self.padding) * (self.columns + 2 * self.padding) * self.channels

    @property
    def bytes(self) -> int:
        """With codes behind its end, which kernels read and multiply by 0."""
        return _eights(2 * (self.size + 8 if self.next else _fours(self.size)))

    @property
    def strides(self) -> tuple[int, int, int]:
        """Codes from one row, position and channel to the next."""
        if self.next is None:
            return self.columns, 1, self.rows * self.columns
        return (self.columns + 2 * self.padding) * self.channels, self.channels, 1

    @property
    def start(self) -> str:
        row, position, _ = self.strides
        inside = self.padding * (row + position)
        return f"result + {inside}" if inside else "result"

    @property
    def prepare(self) -> list[str]:
        """C that sets what the convolution does not."""
        if self.padding:
            assert self.next is not None
            return [f"em_fill(result, {self.bytes // 2}, {self.next.input_zero});"]
        behind = self.bytes // 2 - self.size
        return [f"em_fill(result + {self.size}, {behind}, 0);"] if behind else []


def _pad(padding: int) -> _Step:
    width = SIDE + 2 * padding
    codes = width * width
    lines = (
        f"em_pad_image(image, {SIDE}, {padding}, {width}, result);",
        f"em_fill(result + {codes}, {_eights(2 * codes + 16) // 2 - codes}, 0);",
    )
    return _Step(f"image: with {padding} zeros around it", lines, (), 0, _eights(2 * codes + 16))


def _image(index: int, layer: Convolution, size: tuple[int, int], target: _Map) -> _Step:
    rows = SIDE + 2 * layer.padding
    padded, words = _eights(2 * rows * _fours(rows)), 5 * 6
    work = padded + _eights(4 * words) + _eights(rows)
    constants = [SIDE, layer.padding, layer.outputs, layer.shift, layer.zero, layer.low, *target.strides]
    lines = (
        *target.prepare,
        f"const em_first layer = {{{', '.join(map(str, constants))}}};",
        f"em_convolve_image(layer, image, em_weights_{index}, em_offset_{index}, em_multiplier_{index}, "
        f"(int16_t *)(void *)work,",
        f"                  work + {padded // 4}, (uint16_t *)(void *)(work + {padded // 4 + words}), {target.start});",
    )
    weights = c_array("int8_t", f"em_weights_{index}", layer.weights, f"[{layer.outputs} outputs][5][5]")
    return _Step(_title(layer, size, target), lines, (weights, *_per_output(index, layer)), work, target.bytes)


def _convolve(index: int, layer: Convolution, size: tuple[int, int], target: _Map) -> _Step:
    edge = 2 * layer.padding
    inputs = layer.weights.shape[1]
    pairs = (layer.kernel * inputs + 1) // 2
    constants = [size[0] + edge, size[1] + edge, inputs, layer.kernel, layer.outputs, int(layer.pool)]
    constants += [layer.shift, layer.zero, layer.low, *target.strides]
    lines = (
        *target.prepare,
        f"const em_convolution layer = {{{', '.join(map(str, constants))}}};",
        f"em_convolve(layer, input, em_weights_{index}, em_offset_{index}, em_multiplier_{index}, work,",
        f"            {target.start});",
    )
    rows = layer.weights.transpose(0, 2, 3, 1).reshape(layer.outputs, layer.kernel, -1)
    whole = np.zeros((_fours(layer.outputs), layer.kernel, 2 * pairs), np.int8)
    whole[: layer.outputs, :, : rows.shape[2]] = rows
    stored = whole.reshape(-1, 2, 2, layer.kernel, pairs, 2).transpose(0, 3, 4, 1, 5, 2)
    shape = f"[{len(stored)} blocks][{layer.kernel} rows][{pairs} pairs][2 pairs of outputs][2 codes][2 outputs]"
    arrays = (c_array("int8_t", f"em_weights_{index}", stored, shape), *_per_output(index, layer))
    work = 8 * layer.kernel * _eights(layer.kernel * inputs)  # int16 of four channels, in vectors of eight
    return _Step(_title(layer, size, target), lines, arrays, work, target.bytes)


def _multiply(index: int, layer: Dense) -> _Step:
    outputs, inputs = layer.weights.shape
    behind = _fours(outputs) - outputs
    lines = [f"em_fill(result + {outputs}, {behind}, 0);"] if behind else []
    if layer.codes is None:
        lines += [f"em_multiply(&em_dense_{index}, input, result);"]
        whole = np.zeros((_fours(outputs), _fours(inputs)), np.int16)
        whole[:outputs, :inputs] = layer.weights
        two = whole[0::2] + 256 * whole[1::2]
        stored = two.reshape(-1, 2, whole.shape[1] // 2, 2).transpose(0, 2, 1, 3)
        shape = f"[{len(stored)} blocks][{stored.shape[1]} pairs of inputs][2 pairs of outputs][2 inputs]"
        filled = np.pad(stored.ravel(), (0, stored.shape[1] // 2 % 2 * 8))  # Helium reads two fours of inputs at a time
        arrays = [c_array("int16_t", f"em_weights_{index}", filled, shape)]
        palette, work = "NULL", 0
    else:
        assert layer.palette is not None
        lines += [f"em_multiply_palette(&em_dense_{index}, input, work, result);"]
        codes = np.zeros((_fours(outputs), inputs + inputs % 2), np.uint8)
        codes[:outputs, :inputs] = layer.codes
        stored = (codes[:, 0::2] | codes[:, 1::2] << 4).reshape(-1, 4, codes.shape[1] // 2).transpose(0, 2, 1)
        shape = f"[{len(stored)} blocks][{stored.shape[1]} pairs of inputs][4 outputs], two codes each"
        arrays = [
            c_array("uint8_t", f"em_weights_{index}", stored, shape),
            c_array("int8_t", f"em_palette_{index}", layer.palette, "[16]"),
        ]
        palette, work = f"em_palette_{index}", 1024
    numbers = f"{inputs}, {outputs}, {layer.shift}, {layer.zero}, {layer.low}"
    pointers = f"em_weights_{index}, {palette}, em_offset_{index}, em_multiplier_{index}"
    arrays += [*_per_output(index, layer), f"static const em_dense em_dense_{index} = {{{numbers}, {pointers}}};\n"]
    title = f"{_comment(layer)}: {inputs} to {outputs}"
    return _Step(title, tuple(lines), tuple(arrays), work, _eights(2 * _fours(outputs)))


def _title(layer: Convolution, size: tuple[int, int], target: _Map) -> str:
    read, made = ((*size, layer.weights.shape[1]), (target.rows, target.columns, target.channels))
    return f"{_comment(layer)}: {' x '.join(map(str, read))} to {' x '.join(map(str, made))}"


def _comment(layer: Layer) -> str:
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_." else "_" for c in layer.name)


def _per_output(index: int, layer: Layer) -> list[str]:
    behind = (0, _fours(layer.outputs) - layer.outputs)
    return [
        c_array(
            "int32_t", f"em_offset_{index}", np.pad(layer.offsets, behind), "[outputs]: what accumulators start with"
        ),
        c_array("int32_t", f"em_multiplier_{index}", np.pad(layer.multipliers, behind), "[outputs]"),
    ]


def _fours(count: int) -> int:
    return -(-count // 4) * 4


def _eights(count: int) -> int:
    return -(-count // 8) * 8
