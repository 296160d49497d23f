// Pixel-driven back projection on the GPU by linear interpolation: backprojection.py's formulas.
//
// -D: REAL, NDIM, DEPTH, FINE, TILE, THREADS as in footprint.cu.
#include "shadow.cuh"
#define RESIDENT 3  // blocks of a multiprocessor

// Adds the views from `view0` on to `image (slice, y, x)` or `(z, y, x)`; `sinogram` holds those
// views alone: `(slice, view, column)` or `(view, row, column)`. A thread owns a pixel and DEPTH
// slices or voxels.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    backproject(REAL *__restrict__ image, const REAL *__restrict__ sinogram,
                const double *__restrict__ beam, const double *__restrict__ turns,
                const REAL *__restrict__ axials, const REAL *__restrict__ xs,
                const REAL *__restrict__ ys, int view0, int views, int count, int rows,
                int columns, int ny, int nx) {
  __shared__ Shadow shadows[GROUP];
  const int kind = (int)beam[0], across = (nx + TILE - 1) / TILE;
  const int thread = (int)threadIdx.x, threads = (int)blockDim.x;
  const int strips = (TILE * TILE + threads - 1) / threads, tile = (int)blockIdx.x / strips;
  const int pixel = (int)blockIdx.x % strips * threads + thread;
  const int x0 = tile % across * TILE, y0 = tile / across * TILE;
  const int i = x0 + pixel % TILE, j = y0 + pixel / TILE, first = (int)blockIdx.y * DEPTH;
  const bool used = pixel < TILE * TILE && i < nx && j < ny;
  REAL sum[DEPTH];
  for (int k = 0; k < DEPTH; ++k) sum[k] = 0;
  for (int start = 0; start < views; start += GROUP) {
    const int together = views - start < GROUP ? views - start : GROUP;
    if (thread < together) {
      Shadow s = tile_shadow(beam, turns + 3 * (view0 + start + thread), xs, ys, x0, y0, nx, ny);
      s.scale /= FINE;  // to columns, counted from the first
      s.offset = (s.offset - s.half) / FINE;
      s.strength = 1;
      shadows[thread] = s;
    }
    __syncthreads();
    for (int v = 0; used && v < together; ++v) {
      const Place at = place(kind, shadows[v], xs[i], ys[j]);
      const int c = shadows[v].first + at.cell;
      const REAL factor = at.weight * at.weight;
      REAL right = factor * at.part, left = factor - right;
#if NDIM == 2
      if (c < 0 || c >= columns) left = 0;
      if (c + 1 < 0 || c + 1 >= columns) right = 0;
      const int c0 = left != 0 ? c : 0, c1 = right != 0 ? c + 1 : 0;
      const REAL *line = sinogram + (long long)(start + v) * columns;
#pragma unroll
      for (int k = 0; k < DEPTH; ++k) {
        const long long slice = (long long)(first + k) * views * columns;
        if (first + k < count)
          sum[k] = fma(left, line[slice + c0], fma(right, line[slice + c1], sum[k]));
      }
#else
      if (c < -1 || c >= columns) continue;
      if (c < 0) left = 0;
      if (c + 1 >= columns) right = 0;
      const int c0 = c < 0 ? 0 : c, c1 = c + 1 < columns ? c + 1 : c;
      const REAL *line = sinogram + (long long)(start + v) * rows * columns;
      const REAL *axial = axials + 3 * (view0 + start + v);
      const RowMap map = row_map(axial, at.depth);
      const REAL begin = fma((REAL)0.5 - axial[2], map.inverse, (REAL)0.5 - axial[1]);
#pragma unroll
      for (int k = 0; k < DEPTH; ++k) {
        const REAL t = fma((REAL)(first + k), map.inverse, begin);  // rows, from one before the first
        if (!(t >= 0 && t < rows + 1)) continue;
        const int row = (int)t - 1;
        const REAL part = t - (REAL)(row + 1);
        REAL low = 0, high = 0;
        if (row >= 0)
          low = fma(left, line[row * columns + c0], right * line[row * columns + c1]);
        if (row + 1 < rows)
          high = fma(left, line[(row + 1) * columns + c0], right * line[(row + 1) * columns + c1]);
        sum[k] += fma(part, high - low, low);
      }
#endif
    }
    __syncthreads();
  }
  if (!used) return;
  for (int k = 0; k < DEPTH && first + k < count; ++k)
    image[((long long)(first + k) * ny + j) * nx + i] += sum[k];
}
