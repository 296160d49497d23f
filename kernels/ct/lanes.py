"""The one step that all slices of a stack take together, as one vector instruction."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 16  # slices side by side, innermost in memory


def _add_scaled(
    typing_context: Any, target: Any, i: Any, source: Any, j: Any, weight: Any
) -> tuple[Any, Any]:
    """Compute ``target[i + s] += weight * source[j + s]`` for the `LANES` slices s; flat arrays.

    As a vector by contract: of a loop, LLVM cannot tell that the arrays do not overlap.
    """
    scalar = ir.FloatType() if target.dtype == types.float32 else ir.DoubleType()
    vector = ir.VectorType(scalar, LANES)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(array_type: Any, array: Any, index: Any) -> Any:
            data = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        to = pointer(target, arguments[0], arguments[1])
        size = target.dtype.bitwidth // 8
        values = builder.load(pointer(source, arguments[2], arguments[3]), align=size)
        undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(undefined, arguments[4], zero)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [zero] * LANES)
        product = builder.fmul(
            values, builder.shuffle_vector(one, undefined, mask), flags=("fast",)
        )
        total = builder.fadd(builder.load(to, align=size), product, flags=("fast",))
        builder.store(total, to, align=size)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, target.dtype), codegen


add_scaled: Any = intrinsic(_add_scaled)
