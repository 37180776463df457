"""What a trace tells, as text for the terminal and as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import write_csv
from .repetition import LayerRow, folded
from .tracing import Layer, Pair, Trace

WIDTH = 120
FEW_TAPS = 0.5
"""Below this share of valid taps an atrous convolution mostly reads padding."""


def report(trace: Trace, every_layer: bool = False) -> str:
    """Return the table of layers, the sums over the parts, and the valid taps of the atrous branches.

    Lines have at most 120 characters. Blocks that repeat one another are folded unless `every_layer` is wanted.
    """
    rows = [LayerRow(layer.name, (layer,)) for layer in trace.layers] if every_layer else folded(trace.layers)
    sections = [_layer_table(rows), _legend(trace.size), "", _part_table(trace)]
    if branches := trace.atrous_branches():
        sections += ["", _branch_table(branches)]
    return "\n".join(sections)


def warnings_of(trace: Trace) -> list[str]:
    """Return what is likely not meant: kernels without taps, operators that were not understood."""
    found = []
    for row in folded([layer for layer in trace.layers if layer.is_atrous and layer.valid_taps is not None]):
        layer = row.layers[0]
        share, kernel, rate = layer.valid_taps or 0.0, _sides(layer.kernel), _sides(layer.dilation, once=True)
        where = f"{row.name}: a {kernel} kernel of rate {rate} on a map of {_sides(layer.size_in)}"
        if all(rate >= side - 1 for rate, side in zip(layer.dilation, layer.size_in, strict=True)):
            found.append(
                f"{where} has decayed to a 1x1: hardly any position has more than its centre tap on the map "
                f"({share:.0%} of all taps). Take a smaller rate, or a larger image."
            )
        elif share < FEW_TAPS:
            found.append(f"{where} has {share:.0%} of its taps on the map; the others read padding.")
    found += [
        f"The operator {name} changed the size of a map in a way that is not understood: fields and strides behind it "
        f"are guesses."
        for name in trace.unknown
    ]
    return found


CSV_COLUMNS = (
    *("name", "kind", "kernel_height", "kernel_width", "stride", "dilation", "groups", "in_channels", "out_channels"),
    *("height", "width", "output_stride", "field_height", "field_width", "sees_all", "parameters", "multiply_adds"),
    "valid_taps",
)


def write_layers_csv(path: Path, trace: Trace) -> None:
    """Write one line per executed layer, in full precision. Cells of what a layer does not have are empty.

    Strides, rates and output strides are those of rows: no network here has others for columns.
    """
    rows = [
        (
            *(layer.name, layer.kind, *layer.kernel, layer.stride[0], layer.dilation[0], layer.groups),
            *(layer.in_channels, layer.out_channels, *layer.size, layer.output_stride and layer.output_stride[0]),
            *(*(layer.field or (None, None)), int(layer.sees_all), layer.parameters, layer.multiply_adds),
            layer.valid_taps,
        )
        for layer in trace.layers
    ]
    write_csv(path, CSV_COLUMNS, rows)


# --- the tables -------------------------------------------------------------------------------------------------------


def _layer_table(rows: Sequence[LayerRow]) -> str:
    cells: list[tuple[str, ...]] = [
        ("layer", "", "what", "channels", "map", "stride", "field", "params", "mult-adds", "taps")
    ]
    previous = None
    for row in rows:
        last = row.layers[-1]
        if previous not in (None, last.part):
            cells.append(())
        previous = last.part
        cells.append(
            (
                row.name or "(network)",
                f"x{len(row.layers)}" if len(row.layers) > 1 else "",
                _what(last),
                f"{last.in_channels}>{last.out_channels}",
                _sides(last.size),
                _stride(last),
                _field(last),
                _short(sum(layer.parameters for layer in row.layers)),
                _short(sum(layer.multiply_adds for layer in row.layers)),
                "" if last.valid_taps is None or not last.is_atrous else f"{last.valid_taps:.2f}",
            )
        )
    return _aligned(cells, left=3)


def _legend(size: Pair) -> str:
    return f"""
image {_sides(size)}; dw: depthwise; stride: pixels between positions; field: side of the window of pixels that a
position sees, + and, through a mean, the whole image; taps: share of an atrous kernel's taps on the map; x3: three
such in a chain, their parameters and multiply-adds together, the field of the last"""


def _part_table(trace: Trace) -> str:
    headings = ("part", "parameters", "share", "multiply-adds", "share")
    parts = [
        (
            part.name or "(network)",
            f"{part.parameters:,}",
            f"{part.parameters / trace.parameters:.1%}" if trace.parameters else "-",
            f"{part.multiply_adds:,}",
            f"{part.multiply_adds / trace.multiply_adds:.1%}" if trace.multiply_adds else "-",
        )
        for part in trace.parts
    ]
    total = ("all", f"{trace.parameters:,}", "", f"{trace.multiply_adds:,} = {_short(trace.multiply_adds)}", "")
    table = _aligned([headings, *parts, total], left=1)
    return f"{table}\n(parameters with those of batch norms; multiply-adds of convolutions alone)"


def _branch_table(branches: Sequence[Layer]) -> str:
    cells = [("atrous branch", "kernel", "rate", "on a map of", "field", "valid taps")]
    for layer in branches:
        share = "" if layer.valid_taps is None else f"{layer.valid_taps:.1%}"
        rate = _sides(layer.dilation, once=True)
        cells.append((layer.name, _sides(layer.kernel), rate, _sides(layer.size_in), _field(layer), share))
    return _aligned(cells, left=1)


def _aligned(cells: Sequence[tuple[str, ...]], left: int) -> str:
    """Align columns, the first `left` of them to the left; where the line is too long, names lose their beginning."""
    full = [row for row in cells if row]
    widths = [max(len(row[column]) for row in full) for column in range(len(full[0]))]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    lines = []
    for row in cells:
        aligned = []
        for column, (word, width) in enumerate(zip(row, widths, strict=False)):
            fitting = word if len(word) <= width else "…" + word[len(word) - width + 1 :]
            aligned.append(fitting.ljust(width) if column < left else fitting.rjust(width))
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def _what(layer: Layer) -> str:
    if layer.kind in ("linear", "resize", "unpool", "global pool"):
        return layer.kind
    words = [_sides(layer.kernel)]
    if layer.kind != "conv":
        words.insert(0, layer.kind)
    if max(layer.stride) > 1:
        words.append(f"/{_sides(layer.stride, once=True)}")
    if layer.is_atrous:
        words.append(f"rate {_sides(layer.dilation, once=True)}")
    if layer.groups > 1:
        words.append("dw" if layer.groups == layer.in_channels else f"{layer.groups} groups")
    return " ".join(words)


def _sides(pair: Pair, once: bool = False) -> str:
    return str(pair[0]) if once and pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _stride(layer: Layer) -> str:
    if layer.output_stride is None:
        return "-"
    rows, columns = (f"{stride:.3g}" for stride in layer.output_stride)
    return rows if rows == columns else f"{rows}x{columns}"


def _field(layer: Layer) -> str:
    if layer.field is None:
        return "all"
    return _sides(layer.field, once=True) + ("+" if layer.sees_all else "")


def _short(number: int) -> str:
    """Return three digits and a letter: 1230000 is 1.23 M."""
    if number == 0:
        return ""
    for factor, letter in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= factor:
            return f"{number / factor:#.3g}".rstrip(".") + letter
    return str(number)
