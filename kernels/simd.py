"""SIMD vectors as a Numba type: loops over coils become single vector instructions, by contract.

LLVM splits or widens a vector to what the processor has (AVX-512, AVX2, NEON), so the kernels are
written once with the number of lanes that the algorithm wants.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

I32 = ir.IntType(32)


class Vector(types.Type):  # type: ignore[misc]
    """`lanes` floats, or 32-bit integers, held in registers."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm(vector))


_SCALARS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: I32}


def _llvm(vector: Vector) -> ir.VectorType:
    return ir.VectorType(_SCALARS[vector.dtype], vector.lanes)


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), [ir.Constant(I32, i) for i in lanes])
    return builder.shuffle_vector(a, b, mask)


def _undefined(vector: Any) -> ir.Constant:
    return ir.Constant(vector.type, ir.Undefined)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def load(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Read `lanes` consecutive floats of a flat array, from `index` on."""
    vector = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments[:2], _llvm(vector))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, lanes), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write a vector to a flat array, from `index` on, rounded to its type."""
    kept = Vector(array.dtype, vector.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments[:2], _llvm(kept))
        values = arguments[2]
        if array.dtype.bitwidth < vector.dtype.bitwidth:
            values = builder.fptrunc(values, _llvm(kept))
        builder.store(values, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def fill(typing_context: Any, scalar: Any, lanes: Any) -> Any:
    """Return a vector with every lane equal to `scalar`."""
    scalar = types.unliteral(scalar)
    vector = Vector(scalar, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], vector)

    return vector(scalar, lanes), codegen


def _splat(builder: Any, scalar: Any, vector: Vector) -> Any:
    one = builder.insert_element(
        ir.Constant(_llvm(vector), ir.Undefined), scalar, ir.Constant(I32, 0)
    )
    return _shuffle(builder, one, one, [0] * vector.lanes)


def _arithmetic(operation: Callable[..., Any], instruction: str) -> None:
    """Give vectors an operator, lane by lane; the second operand may be a scalar."""

    @intrinsic  # type: ignore[untyped-decorator]
    def emit(typing_context: Any, a: Any, b: Any) -> Any:
        scalar = not isinstance(b, Vector)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, y = arguments
            y = _splat(builder, y, a) if scalar else y
            return getattr(builder, instruction)(x, y, flags=("fast",))  # fuses to FMA

        return a(a, a.dtype if scalar else b), codegen

    @overload(operation)  # type: ignore[untyped-decorator]
    def implement(a, b):  # type: ignore[no-untyped-def]
        return (lambda a, b: emit(a, b)) if isinstance(a, Vector) else None


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
):
    _arithmetic(_operation, _instruction)


def _lane_by_lane(less: str) -> Any:
    """Make a function of two vectors, or a vector and a scalar: the first where it compares so."""

    @intrinsic  # type: ignore[untyped-decorator]
    def choose(typing_context: Any, a: Any, b: Any) -> Any:
        scalar = not isinstance(b, Vector)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, y = arguments
            y = _splat(builder, y, a) if scalar else y
            return builder.select(builder.fcmp_ordered(less, x, y), x, y)

        return a(a, a.dtype if scalar else b), codegen

    return choose


minimum, maximum = _lane_by_lane("<"), _lane_by_lane(">")


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def count_up(typing_context: Any, scalar: Any, lanes: Any) -> Any:
    """Return ``0 1 2 ...`` of the scalar's type."""
    vector = Vector(types.unliteral(scalar), lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_llvm(vector), [float(i) for i in range(vector.lanes)])

    return vector(vector.dtype, lanes), codegen


@intrinsic  # type: ignore[untyped-decorator]
def split(typing_context: Any, a: Any) -> Any:
    """Return the whole parts of numbers, none negative, as integers, and the rest."""
    whole = Vector(types.int32, a.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integers = builder.fptosi(arguments[0], _llvm(whole))
        rest = builder.fsub(arguments[0], builder.sitofp(integers, _llvm(a)))
        return context.make_tuple(builder, signature.return_type, (integers, rest))

    return types.Tuple((whole, a))(a), codegen


@intrinsic  # type: ignore[untyped-decorator]
def pick(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Read ``array[index + lane]`` for a vector of lane numbers below its length.

    What a register holds is loaded once and permuted, a fraction of what a gather would take.
    """
    vector = Vector(array.dtype, lanes.lanes)
    fits = lanes.lanes * array.dtype.bitwidth <= 512

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments[:2], _llvm(vector))
        values = builder.load(pointer, align=array.dtype.bitwidth // 8) if fits else None
        scalars = builder.bitcast(pointer, _SCALARS[array.dtype].as_pointer())
        result = ir.Constant(_llvm(vector), ir.Undefined)
        for i in range(vector.lanes):
            lane = builder.extract_element(arguments[2], ir.Constant(I32, i))
            if fits:  # LLVM knows this pattern as one permutation
                value = builder.extract_element(values, lane)
            else:
                value = builder.load(builder.gep(scalars, [lane]))
            result = builder.insert_element(result, value, ir.Constant(I32, i))
        return result

    return vector(array, types.intp, lanes), codegen


@intrinsic  # type: ignore[untyped-decorator]
def pair_sums(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the sums of neighbouring lanes, ``a0 + a1, a2 + a3, ...`` and then those of b."""
    evens = list(range(0, 2 * a.lanes, 2))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        even = _shuffle(builder, *arguments, evens)
        return builder.fadd(even, _shuffle(builder, *arguments, [lane + 1 for lane in evens]))

    return a(a, b), codegen


class Row(types.Type):  # type: ignore[misc]
    """`lanes` sums held in registers, in pieces that a register holds.

    LLVM takes a vector whose length is no power of two apart, float by float, where a loop
    carries it.
    """

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.pieces: list[tuple[int, Vector]] = []  # first lane, and type
        done = 0
        while done < lanes:
            size = min(512 // dtype.bitwidth, 1 << ((lanes - done).bit_length() - 1))
            self.pieces.append((done, Vector(dtype, size)))
            done += size
        super().__init__(name=f"Row({dtype}, {lanes})")


@register_model(Row)
class _RowModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, row: Row) -> None:
        super().__init__(manager, row, _struct(row))


def _struct(row: Row) -> ir.LiteralStructType:
    return ir.LiteralStructType([_llvm(piece) for _, piece in row.pieces])


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def zero_row(typing_context: Any, scalar: Any, lanes: Any) -> Any:
    """Return a row of `lanes` zeros of the scalar's type."""
    scalar = types.unliteral(scalar)
    row = Row(scalar, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_struct(row), None)

    return row(scalar, lanes), codegen


@intrinsic  # type: ignore[untyped-decorator]
def accumulate(typing_context: Any, row: Any, array: Any, index: Any, weight: Any) -> Any:
    """Return the row plus `weight` times what a flat array holds from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, data, start, factor = arguments
        for i, (first, piece) in enumerate(row.pieces):
            at = builder.add(start, ir.Constant(start.type, first))
            pointer = _pointer(context, builder, array, data, at, _llvm(piece))
            values = builder.load(pointer, align=array.dtype.bitwidth // 8)
            product = builder.fmul(values, _splat(builder, factor, piece), flags=("fast",))
            total = builder.fadd(builder.extract_value(sums, i), product, flags=("fast",))
            sums = builder.insert_value(sums, total, i)
        return sums

    return row(row, array, types.intp, row.dtype), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def weigh_and_fold(typing_context: Any, row: Any, weights: Any, index: Any, lanes: Any) -> Any:
    """Return the sum of the row's groups of `lanes` lanes, each by its weight, from `index` on."""
    count = lanes.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total = None
        for i, (first, piece) in enumerate(row.pieces):
            taps = Vector(row.dtype, piece.lanes // count)
            at = builder.add(arguments[2], ir.Constant(arguments[2].type, first // count))
            pointer = _pointer(context, builder, weights, arguments[1], at, _llvm(taps))
            w = builder.load(pointer, align=row.dtype.bitwidth // 8)
            w = _shuffle(builder, w, _undefined(w), [lane // count for lane in range(piece.lanes)])
            x = builder.fmul(builder.extract_value(arguments[0], i), w, flags=("fast",))
            for group in range(piece.lanes // count):
                part = _shuffle(
                    builder, x, _undefined(x), list(range(group * count, (group + 1) * count))
                )
                total = builder.fadd(total, part, flags=("fast",)) if total else part
        return total

    return Vector(row.dtype, count)(row, weights, types.intp, lanes), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def every_second(typing_context: Any, a: Any, first: Any) -> Any:
    """Return lanes ``first, first + 2, ...`` of a vector: real (0) or imaginary (1) parts."""
    lanes = list(range(first.literal_value, a.lanes, 2))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = arguments[0]
        return _shuffle(builder, x, _undefined(x), lanes)

    return Vector(a.dtype, len(lanes))(a, first), codegen


@intrinsic  # type: ignore[untyped-decorator]
def interleave(typing_context: Any, a: Any, b: Any) -> Any:
    """Return ``a0 b0 a1 b1 ...``."""
    lanes = [i // 2 + (i % 2) * a.lanes for i in range(2 * a.lanes)]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _shuffle(builder, *arguments, lanes)

    return Vector(a.dtype, 2 * a.lanes)(a, b), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def repeat(typing_context: Any, a: Any, times: Any) -> Any:
    """Return a vector with each lane repeated `times` times in place: ``a0 a0 a1 a1 ...``."""
    count = times.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = arguments[0]
        return _shuffle(builder, x, _undefined(x), [i // count for i in range(a.lanes * count)])

    return Vector(a.dtype, a.lanes * count)(a, times), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def tile(typing_context: Any, a: Any, times: Any) -> Any:
    """Return a vector with all lanes repeated: ``a0 a1 ... a0 a1 ...``."""
    count = times.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = arguments[0]
        lanes = [i % a.lanes for i in range(a.lanes * count)]
        return _shuffle(builder, x, _undefined(x), lanes)

    return Vector(a.dtype, a.lanes * count)(a, times), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def load_pairs(typing_context: Any, array: Any, cells: Any, index: Any, count: Any) -> Any:
    """Read ``array[c], array[c + 1]`` for `count` cells c of an int32 array, from `index` on.

    A neighbouring pair is one load: half of what a gather of each would take.
    """
    pair, number = Vector(array.dtype, 2), count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, where, start, _ = arguments
        parts = []
        for at in _cells(context, builder, cells, where, start, number):
            pointer = _pointer(context, builder, array, data, at, _llvm(pair))
            parts.append(builder.load(pointer, align=array.dtype.bitwidth // 8))
        while len(parts) > 1:
            lanes = list(range(2 * parts[0].type.count))
            parts = [
                _shuffle(builder, a, b, lanes) for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    return Vector(array.dtype, 2 * number)(array, cells, types.intp, count), codegen


@intrinsic  # type: ignore[untyped-decorator]
def add_pairs(typing_context: Any, array: Any, cells: Any, index: Any, vector: Any) -> Any:
    """Add a vector's pairs to ``array[c], array[c + 1]``, cell after cell: see `load_pairs`."""
    pair = Vector(array.dtype, 2)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, where, start, values = arguments
        places = _cells(context, builder, cells, where, start, vector.lanes // 2)
        for k, at in enumerate(places):
            pointer = _pointer(context, builder, array, data, at, _llvm(pair))
            old = builder.load(pointer, align=array.dtype.bitwidth // 8)
            new = _shuffle(builder, values, _undefined(values), [2 * k, 2 * k + 1])
            builder.store(builder.fadd(old, new), pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, cells, types.intp, vector), codegen


def _cells(context: Any, builder: Any, kind: Any, array: Any, start: Any, count: int) -> list[Any]:
    """The next `count` integers of an array, as indices."""
    data = context.make_array(kind)(context, builder, array).data
    where = [builder.add(start, ir.Constant(start.type, k)) for k in range(count)]
    return [builder.sext(builder.load(builder.gep(data, [at])), start.type) for at in where]


@intrinsic  # type: ignore[untyped-decorator]
def total(typing_context: Any, a: Any) -> Any:
    """Return the sum of all lanes."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = arguments[0]
        while x.type.count > 1:
            half = x.type.count // 2
            low = _shuffle(builder, x, _undefined(x), list(range(half)))
            high = _shuffle(builder, x, _undefined(x), list(range(half, 2 * half)))
            x = builder.fadd(low, high)
        return builder.extract_element(x, ir.Constant(I32, 0))

    return a.dtype(a), codegen


@intrinsic  # type: ignore[untyped-decorator]
def transpose(typing_context: Any, rows: Any) -> Any:
    """Transpose a square: n vectors (a tuple) of n lanes, n a power of two."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n = len(rows)
        x = _transposed(builder, [builder.extract_value(arguments[0], i) for i in range(n)])
        result = ir.Constant(arguments[0].type, ir.Undefined)
        for i in range(n):
            result = builder.insert_value(result, x[i], i)
        return result

    return rows(rows), codegen


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    x, n = list(rows), len(rows)
    distance = n // 2
    while distance:
        for i in range(n):
            if i & distance:
                continue
            a, b, d = x[i], x[i + distance], distance
            low = [lane if not lane & d else n + lane - d for lane in range(n)]
            high = [lane + d if not lane & d else n + lane for lane in range(n)]
            x[i], x[i + d] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
        distance //= 2
    return x


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def turn_square(
    typing_context: Any, array: Any, i: Any, pitch: Any, target: Any, j: Any, stride: Any, n: Any
) -> Any:
    """Transpose: ``target[j + c * stride + r] = array[i + r * pitch + c]`` for r, c below n."""
    vector = Vector(array.dtype, n.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def places(kind: Any, data: Any, start: Any, step: Any) -> list[Any]:
            lines = (builder.mul(step, ir.Constant(step.type, k)) for k in range(vector.lanes))
            return [
                _pointer(context, builder, kind, data, builder.add(start, line), _llvm(vector))
                for line in lines
            ]

        align = array.dtype.bitwidth // 8
        rows = [builder.load(place, align=align) for place in places(array, *arguments[:3])]
        columns = _transposed(builder, rows)
        for column, place in zip(columns, places(target, *arguments[3:6]), strict=True):
            builder.store(column, place, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, target, types.intp, types.intp, n), codegen


@intrinsic  # type: ignore[untyped-decorator]
def next_task(typing_context: Any, counter: Any) -> Any:
    """Take the next number from an int64 array of one counter, atomically among threads."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(counter)(context, builder, arguments[0]).data
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", data, one, "monotonic")

    return types.int64(counter), codegen


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array[index]`` ahead of its use."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        data = context.make_array(array)(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read_keep_data = [ir.Constant(I32, value) for value in (0, 3, 1)]
        builder.call(function, [pointer, *read_keep_data])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
