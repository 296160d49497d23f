"""`Projector`: an image to its line integrals and back, for every geometry."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..arena import arena
from ..arrays import like, on_gpu, require_no_gradient, to_numpy
from ..threads import thread_count
from . import cone, joseph, planar
from .base import checked_bytes
from .beams import axial_of, beam_of, curve_of, kind_of, ray_frames, turns_of
from .coverage import require_source_outside, warn_of_unseen
from .footprint import TILE as PLANAR_TILE
from .footprint import most_columns, window_cells
from .geometry import CircularBeam, ConeBeam, Geometry, ModularBeam, VolumeGrid
from .lanes import LANES

MOST_CELLS = 1 << 22  # of the fine grid under a tile: some 16,000 columns a pixel
PIECE = 1 << 28  # bytes of a cone's views that go together where no limit is given
Model = Literal["separable-footprint", "joseph"]
Backend = Literal["numba", "cuda"]
A = TypeVar("A")
Floats = NDArray[Any]


class Projector:
    """Line integrals of an image on a grid along the rays of a geometry, and the exact transpose.

    Parameters
    ----------
    geometry
        Where source and detector stood. A 2D geometry takes stacks of slices as batch.
    volume
        The image's grid.
    model
        ``"separable-footprint"``: finite pixels and detector cells (Long, Fessler and Balter
        2010); ``"joseph"``: linear interpolation along thin rays. A `ModularBeam` has no footprint
        that separates: it is always projected by ``"joseph"``.
    memory_limit
        Bytes that the projector may use beside its input and output; stacks and volumes that need
        more go through in pieces. Default: no limit.

    It computes where the data lie: NumPy arrays and CPU tensors by Numba, CUDA tensors and CuPy
    arrays on their GPU. `backend` says which it was at the last call, "numba" or "cuda".

    Raises
    ------
    ValueError
        An unknown model, a geometry and a grid of different dimensions, a source inside the
        volume, a memory limit below the smallest piece.

    Warns
    -----
    UserWarning
        The detector does not see all of the volume (its corners apart): truncation.
    """

    backend: Backend = "numba"
    _cards: dict[Any, Any]  # what is on each GPU, made at the first call there

    def __init__(
        self,
        geometry: Geometry,
        volume: VolumeGrid,
        *,
        model: Model = "separable-footprint",
        memory_limit: int | None = None,
    ) -> None:
        if model not in ("separable-footprint", "joseph"):
            raise ValueError(f'model must be "separable-footprint" or "joseph", got {model!r}')
        if not isinstance(geometry, Geometry) or not isinstance(volume, VolumeGrid):
            raise TypeError(
                "expected a geometry and a VolumeGrid, in this order, got "
                f"{type(geometry).__name__} and {type(volume).__name__}"
            )
        memory_limit = None if memory_limit is None else checked_bytes(memory_limit)
        if volume.ndim != geometry.ndim:
            raise ValueError(
                f"a {geometry.ndim}D geometry needs a {geometry.ndim}D volume, got {volume}"
            )
        self.geometry, self.volume, self.memory_limit = geometry, volume, memory_limit
        self._cards = {}
        self.model: Model = "joseph" if isinstance(geometry, ModularBeam) else model
        require_source_outside(geometry, volume)
        warn_of_unseen(geometry, volume)
        if self.model == "joseph":
            self.frames = ray_frames(geometry)
        else:
            self._prepare_footprint()
        self._require_memory(4)

    def _prepare_footprint(self) -> None:
        geometry, grid = self.geometry, self.volume
        assert isinstance(geometry, CircularBeam)
        self.turns, self.beam = turns_of(geometry), beam_of(geometry, grid)
        xs, ys = self.axes(np.float64)
        if isinstance(geometry, ConeBeam):
            self.axial = axial_of(geometry, grid)
            self.cells = most_columns(self.beam, self.turns, xs, ys)
        else:
            self.cells = window_cells(self.beam, self.turns, xs, ys, PLANAR_TILE)
        if self.cells > MOST_CELLS:
            raise ValueError(
                f"pixels of {grid.spacing[-2:]} mm are thousands of detector columns of "
                f"{geometry.column_spacing:g} mm wide: check the spacings of grid and detector"
            )

    def forward(self, image: A) -> A:
        """Project ``(*batch, [z,] y, x)`` to line integrals ``(*batch, view, [row,] column)``.

        The image's unit times mm. NumPy, torch or CuPy, float32 or float64; the same comes out.

        Raises
        ------
        TypeError
            Another dtype, or a tensor that is neither on the CPU nor on an NVIDIA GPU.
        ValueError
            Another shape; on the CPU, NaN or infinity (a look at all values would stall a GPU).
        """
        if on_gpu(image):
            return self.on_card("forward", "image", image, self.volume.shape)
        array = checked("image", image, self.volume.shape)
        return self._run(array, image, back=False)

    def adjoint(self, sinogram: A) -> A:
        """Apply the exact transpose of `forward`: ``(*batch, view, [row,] column)`` to images.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        if on_gpu(sinogram):
            return self.on_card("adjoint", "sinogram", sinogram, self.geometry.shape)
        array = checked("sinogram", sinogram, self.geometry.shape)
        return self._run(array, sinogram, back=True)

    def on_card(self, method: str, name: str, data: A, shape: tuple[int, ...]) -> A:
        """Run a method of the CUDA backend on a stack of CUDA tensors or CuPy arrays."""
        import torch

        require_no_gradient(name, data)
        tensor = data if isinstance(data, torch.Tensor) else torch.from_dlpack(data)  # type: ignore[attr-defined]
        tensor = tensor.resolve_neg()
        _require(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), shape)
        batch = tensor.shape[: tensor.ndim - len(shape)]
        stack = tensor.detach().contiguous().view(-1, *shape)
        out = getattr(self.card(stack.device), method)(stack)
        self.backend = "cuda"
        return cast(A, like(out.view(*batch, *out.shape[1:]), data))

    def card(self, device: Any) -> Any:
        """Return the CUDA backend on a device, made at the first call there."""
        if device not in self._cards:
            self._cards[device] = self._card(device)
        return self._cards[device]

    def _card(self, device: Any) -> Any:
        if self.model == "joseph":
            from .cuda_joseph import CudaJoseph

            return CudaJoseph(self, device)
        from .cuda_footprint import CudaFootprint

        return CudaFootprint(self, device)

    def _run(self, array: Floats, original: A, *, back: bool) -> A:
        shape, out_shape = self.volume.shape, self.geometry.shape
        if back:
            shape, out_shape = out_shape, shape
        self._require_memory(array.itemsize)
        batch = array.shape[: array.ndim - len(shape)]
        stack = array.reshape(-1, *shape)
        out = np.empty((len(stack), *out_shape), array.dtype)
        volume, sinogram = (out, stack) if back else (stack, out)
        if self.model == "joseph":
            self._joseph(volume, sinogram, back)
        elif self.volume.ndim == 3:
            self._cone(volume, sinogram, back)
        else:
            self._planar(volume, sinogram, back)
        self.backend = "numba"
        return cast(A, like(out.reshape(*batch, *out_shape), original))

    def _planar(self, images: Floats, sinograms: Floats, back: bool) -> None:
        rest = self.beam, self.turns, *self.axes(images.dtype), self.cells
        lanes, start, count, views = LANES, 0, len(images), len(self.turns)
        # Side by side costs as much as a few single slices, whether all lanes are full or not.
        while count - start >= lanes // 4:
            stop = min(start + lanes * self._stacks(images.itemsize), count)
            n = -(-(stop - start) // lanes)
            a = np.empty((n, *self.volume.shape, lanes), images.dtype)
            b = np.empty((n, *self.geometry.shape, lanes), images.dtype)
            image, sinogram = images[start:stop], sinograms[start:stop]
            planar.interleave_slices(sinogram if back else image, b if back else a)
            if back:
                planar.adjoint_stack(a, b, *rest)
            else:
                planar.forward_stack(a, b, *rest, planar.views_together(views, n, thread_count()))
            planar.separate_slices(a if back else b, image if back else sinogram)
            start = stop
        for i in range(start, count):
            if back:
                planar.adjoint_one(images[i], sinograms[i], *rest)
            else:
                together = planar.views_together(views, 1, thread_count())
                planar.forward_one(images[i], sinograms[i], *rest, together)

    def _stacks(self, itemsize: int) -> int:
        """Stacks of 16 slices that go together: four, or what the memory limit allows."""
        if self.memory_limit is None:
            return 4
        room = self.memory_limit - self._planar_work(itemsize)
        return int(min(max(room // (LANES * self._item(itemsize)), 1), 4))

    def _planar_work(self, itemsize: int) -> int:
        """Bytes of the threads: the fine grid under a tile, and the tile's sums."""
        return thread_count() * itemsize * LANES * (self.cells + PLANAR_TILE**2)

    def _item(self, itemsize: int) -> int:
        return itemsize * (int(np.prod(self.volume.shape)) + int(np.prod(self.geometry.shape)))

    def _cone(self, volumes: Floats, sinograms: Floats, back: bool) -> None:
        xs, ys = self.axes(volumes.dtype)
        assert isinstance(self.geometry, ConeBeam)
        slope = self.geometry.slopes.astype(volumes.dtype)
        _, rows, columns = self.geometry.shape
        step = self._views(volumes.itemsize)
        for volume, sinogram in zip(volumes, sinograms, strict=True):
            for v in range(0, len(sinogram), step):
                views = sinogram[v : v + step]
                rays = arena.empty((len(views), columns, cone.padded(rows)), volume.dtype)
                turns = self.turns[v : v + step]
                rest = rows, self.beam, self.axial, turns, xs, ys, self.cells, thread_count()
                if back:
                    cone.turn_views(views, slope, rays)
                    cone.adjoint(volume, rays, *rest, v == 0)
                else:
                    cone.forward(volume, rays, *rest)
                    cone.return_views(rays, slope, views)

    def _views(self, itemsize: int) -> int:
        """Views of a cone that go together: what the limit allows, or fill `PIECE`."""
        limit = self.memory_limit
        room = PIECE if limit is None else limit - self._cone_work(itemsize)
        return int(min(max(room // self._cone_view(itemsize), 1), len(self.geometry)))

    def _cone_view(self, itemsize: int) -> int:
        """Bytes of a view turned rows innermost."""
        _, rows, columns = self.geometry.shape
        return itemsize * columns * cone.padded(rows)

    def _cone_work(self, itemsize: int) -> int:
        """Bytes of the threads and of the rays' slopes, while these are made."""
        _, rows, columns = self.geometry.shape
        own = cone.thread_bytes(self.volume.shape[0], rows, self.cells, itemsize)
        return thread_count() * own + max(2 * 8, 8 + itemsize) * rows * columns

    def _joseph(self, volumes: Floats, sinograms: Floats, back: bool) -> None:
        geometry = self.geometry
        shape = (1, *self.volume.shape)[-3:]
        rows, columns = (1, *geometry.shape[1:])[-2:]
        arguments = kind_of(geometry), self.frames, curve_of(geometry), *self.lattice()
        for volume, sinogram in zip(volumes, sinograms, strict=True):
            v, p = volume.reshape(shape), sinogram.reshape(-1, rows, columns)
            if back:
                joseph.adjoint(v, p, *arguments, thread_count())
            else:
                joseph.forward(v, p, *arguments)

    def axes(self, dtype: Any) -> tuple[Floats, Floats]:
        """Return the positions of the pixels along x and y in mm."""
        return self.volume.positions(-1).astype(dtype), self.volume.positions(-2).astype(dtype)

    def lattice(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return spacing and first voxel along z, y and x in mm; a slice lies at z = 0."""
        grid = self.volume
        origin = tuple(float(grid.positions(a)[0]) for a in range(grid.ndim))
        return (1.0, *grid.spacing)[-3:], (0.0, *origin)[-3:]

    @property
    def memory(self) -> int:
        """Bytes a call uses beside input and output in float32, by the `backend` that ran last.

        Of one volume, or of any stack of slices.
        """
        return self.memory_on(self.backend)

    def memory_on(self, backend: Backend, itemsize: int = 4) -> int:
        """As `memory`, on a backend and for data of an item size; nothing is allocated."""
        if backend == "cuda":
            return int(self._card(None).memory(itemsize))
        if self.model == "joseph":
            return int(self.frames.nbytes)
        if self.volume.ndim == 2:
            stacks = LANES * self._stacks(itemsize) * self._item(itemsize)
            return stacks + self._planar_work(itemsize)
        return self._views(itemsize) * self._cone_view(itemsize) + self._cone_work(itemsize)

    def _require_memory(self, itemsize: int) -> None:
        if self.memory_limit is None:
            return
        needed = self.memory_on("numba", itemsize)
        if needed > self.memory_limit:
            raise ValueError(
                f"memory_limit {self.memory_limit} bytes is below the smallest piece, "
                f"{needed} bytes"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cards": {}}  # compiled kernels do not travel

    def __repr__(self) -> str:
        return f"Projector({self.geometry}, {self.volume}, {self.model}, {self.backend})"


def checked(name: str, data: Any, shape: tuple[int, ...]) -> Floats:
    """Return a contiguous array of a NumPy array or CPU tensor ``(*batch, *shape)``."""
    require_no_gradient(name, data)
    array = to_numpy(name, data)
    _require(name, str(array.dtype), array.shape, shape)
    if not np.isfinite(np.sum(array)) and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def _require(name: str, dtype: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if dtype not in ("float32", "float64"):
        raise TypeError(f"{name} must be float32 or float64, got {dtype}")
    if shape[max(len(shape) - len(expected), 0) :] != expected:
        wanted = ", ".join(["*batch", *map(str, expected)])
        raise ValueError(f"{name} has shape {shape}, expected ({wanted})")
