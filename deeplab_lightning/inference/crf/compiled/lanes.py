"""Eight float32 side by side, the unit of the compiled kernels' arithmetic.

LLVM makes no vectors of a short loop over classes: it unrolls it into single numbers, or fears that the arrays overlap.
Here the vector is a type, which LLVM turns into the registers of the processor (one of AVX, two of SSE or NEON).

The functions work inside compiled code only. Rows of an array hold a multiple of `LANES` numbers; indices are not
checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-not-found,import-untyped,unused-ignore]
from numba import extending, types  # type: ignore[import-not-found,import-untyped,unused-ignore]
from torch import Tensor
from torch.nn import functional as F

LANES = 8
_inlined: Any = extending.intrinsic  # of no type: what it makes is called without its first argument
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Lanes(types.Type):
    """Numba's name of the vector."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@extending.register_model(_Lanes)
class _LanesModel(extending.models.PrimitiveModel):
    """How numba hands it to LLVM."""

    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, _VECTOR)


_LANES = _Lanes()


def whole_lanes(values: Tensor, fill: float = 0.0) -> Tensor:
    """Widen `(N, C)` to the next multiple of `LANES` columns, where it is not one already."""
    missing = -values.shape[1] % LANES
    return F.pad(values, (0, missing), value=fill) if missing else values.contiguous()


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the pointer to `array[row, first]` for the arguments array, row, first."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    row, first = (context.cast(builder, arguments[k], signature.args[k], types.int64) for k in (1, 2))
    place = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), first)
    return builder.bitcast(builder.gep(array.data, [place]), _VECTOR.as_pointer())


@_inlined
def load(typing: Any, array: Any, row: Any, first: Any) -> Any:
    """Return `array[row, first : first + LANES]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature, arguments), align=4)

    return _LANES(array, row, first), generate


@_inlined
def store(typing: Any, array: Any, row: Any, first: Any, lanes: Any) -> Any:
    """Set `array[row, first : first + LANES] = lanes`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[3], _address(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return types.void(array, row, first, lanes), generate


@_inlined
def prefetch(typing: Any, array: Any, row: Any, first: Any) -> Any:
    """Have `array[row, first : first + LANES]` on its way from memory, where scattered rows are waited for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte] + 3 * [number])
        )
        to_read, near, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(fetch, [builder.bitcast(address, byte), to_read, near, data])
        return context.get_dummy_value()

    return types.void(array, row, first), generate


@_inlined
def zeros(typing: Any) -> Any:
    """Return eight zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return _LANES(), generate


@_inlined
def plus(typing: Any, lanes: Any, weight: Any, others: Any) -> Any:
    """Return `lanes + weight * others`, `weight` being one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weight = context.cast(builder, arguments[1], signature.args[1], types.float32)
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        single = builder.insert_element(nothing, weight, ir.Constant(ir.IntType(32), 0))
        everywhere = builder.shuffle_vector(single, nothing, first)
        product = builder.fmul(everywhere, arguments[2], flags=("fast",))
        return builder.fadd(arguments[0], product, flags=("fast",))

    return _LANES(lanes, weight, others), generate
