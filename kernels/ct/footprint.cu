// Separable footprint on the GPU, both directions by gathering: sums without atomics, the same in
// every run.
//
// A pixel's coefficients are computed once for DEPTH numbers that a thread keeps in registers:
// slices of a stack where NDIM is 2 (parallel, fan), rows or voxels along z where it is 3 (cone,
// helical). Neighbouring threads read neighbouring pixels or columns. The shadows of GROUP tiles or
// views at a time stand in shared memory, made by as many threads at once.
//
// -D: REAL, NDIM, DEPTH, FINE, TILE, THREADS (of a block, at most), ACROSS (columns of a block of
// `forward`).
#include "shadow.cuh"
#define TAPS 4  // columns that go together in `adjoint`
// Blocks of a multiprocessor: what one waits for, the others hide. Chosen by trial on an H200;
// more of them leave fewer registers.
#define RESIDENT_FORWARD (NDIM == 2 ? 3 : 4)
#define RESIDENT_ADJOINT 4

// What one pixel adds to the thread's slices or rows first..first + DEPTH.
static __device__ __forceinline__ void add_pixel(REAL *sum, REAL weight, const REAL *pixel,
                                                 long long plane, int first, int count, int nz,
                                                 const REAL *axial, REAL depth) {
#if NDIM == 2
#pragma unroll
  for (int k = 0; k < DEPTH; ++k)
    if (first + k < count) sum[k] = fma(weight, pixel[(first + k) * plane], sum[k]);
#else
  const RowMap map = row_map(axial, depth);
  REAL low = boundary(map, first);
  if (low >= nz || boundary(map, first + DEPTH) <= 0) return;
  REAL top = floor(low) + 1;  // of voxel z
  int z = (int)top - 1;
  REAL voxel = z >= 0 && z < nz ? pixel[z * plane] : 0;
  weight *= map.inverse;
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {  // rows and voxels in step: each voxel is read once
    const REAL high = boundary(map, first + k + 1);
    REAL mean = 0;
    while (top <= high) {
      mean = fma(top - low, voxel, mean);
      low = top;
      top += 1;
      ++z;
      voxel = z >= 0 && z < nz ? pixel[z * plane] : 0;
    }
    sum[k] = fma(weight, fma(high - low, voxel, mean), sum[k]);
    low = high;
  }
#endif
}

// What TAPS columns, from `view` on, add to the thread's slices or voxels first..first + DEPTH.
static __device__ __forceinline__ void add_columns(REAL *sum, const REAL *weight, const REAL *view,
                                                   int used, long long plane, int first, int count,
                                                   int rows, const REAL *axial, REAL depth) {
#if NDIM == 2
#pragma unroll
  for (int k = 0; k < DEPTH; ++k)
    if (first + k < count)
#pragma unroll
      for (int j = 0; j < TAPS; ++j)
        if (j < used) sum[k] = fma(weight[j], view[(first + k) * plane + j], sum[k]);
#else
  const RowMap map = row_map(axial, depth);
  if (map.first >= first + DEPTH || boundary(map, rows) <= first) return;
  int row = (int)floor((first - map.first) * map.inverse);
  while (boundary(map, row) > first) --row;  // where the division rounded up,
  while (boundary(map, row + 1) <= first) ++row;  // or down
  REAL from = (REAL)first, high = boundary(map, row + 1), value = 0;
#pragma unroll
  for (int j = 0; j < TAPS; ++j)
    if (j < used && row >= 0 && row < rows) value = fma(weight[j], view[row * plane + j], value);
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {  // each row is read once
    const REAL until = (REAL)(first + k + 1);
    REAL total = 0;
    while (high <= until) {
      total = fma(high - from, value, total);
      from = high;
      ++row;
      high = boundary(map, row + 1);
      value = 0;
#pragma unroll
      for (int j = 0; j < TAPS; ++j)
        if (j < used && row >= 0 && row < rows)
          value = fma(weight[j], view[row * plane + j], value);
    }
    total = fma(until - from, value, total);
    from = until;
    sum[k] = fma(map.inverse, total, sum[k]);
  }
#endif
}

// The rows of an image in one view: a pixel at f across and s along the rays is seen at the tangent
// z = (ds f + dm s) / (d + dd f), where d = d_start + d_slow s (parallel: at z mm).
struct Rows {
  REAL ds, dm, dd, d_slow, d_start, pixels_a_mm;
  double magnified;  // columns a unit of z, or of its angle where curved
};

static __device__ __forceinline__ Rows rows_of(int kind, const double *beam, const double *turn,
                                               int turned) {
  const REAL cosine = (REAL)turn[0], sine = (REAL)turn[1];
  const bool parallel = kind == PARALLEL;
  Rows rows;
  rows.pixels_a_mm = (REAL)(1 / beam[turned ? 6 : 5]);
  rows.ds = turned ? sine : cosine;
  rows.dm = turned ? cosine : sine;
  rows.dd = parallel ? 0 : turned ? cosine : -sine;
  rows.d_slow = parallel ? 0 : turned ? -sine : cosine;
  rows.d_start = parallel ? 1 : (REAL)beam[1];
  rows.magnified = (parallel ? 1 : beam[2]) / beam[3];
  return rows;
}

// Between which tangents pixels shade a column; i0, i1: pixels' steps a step of the tangent.
struct Band {
  REAL z0, z1, i0, i1;
  bool all;  // rays along the row: any pixel of it may
};

static __device__ __forceinline__ Band band_of(int kind, const double *beam, const Rows &rows,
                                               int column, int half) {
  const double support = (half + 1.) / FINE;
  double low = (column - beam[4] - support) / rows.magnified;
  double high = (column - beam[4] + support) / rows.magnified;
  if (kind == CURVED) {
    low = tan(fmax(low, -1.5));
    high = tan(fmin(high, 1.5));
  }
  Band band;
  band.z0 = (REAL)low;
  band.z1 = (REAL)high;
  const REAL e0 = rows.ds - band.z0 * rows.dd, e1 = rows.ds - band.z1 * rows.dd;
  band.all = e0 * e1 < (REAL)1e-4;
  band.i0 = band.all ? 0 : 1 / e0;
  band.i1 = band.all ? 0 : 1 / e1;
  return band;
}

// Narrows the pixels first..end of a row, the first one at the place `start`, to those in a band.
static __device__ __forceinline__ void narrow(const Rows &rows, const Band &band, REAL along,
                                              REAL start, int *first, int *end) {
  const REAL slack = (REAL)0.0625;  // pixels: rounding must not lose one
  const REAL s = along * rows.dm, d = fma(along, rows.d_slow, rows.d_start);
  const REAL g0 = ((band.z0 * d - s) * band.i0 - start) * rows.pixels_a_mm;
  const REAL g1 = ((band.z1 * d - s) * band.i1 - start) * rows.pixels_a_mm;
  const REAL most = (REAL)(*end - *first);
  const REAL from = fmin(fmax(fmin(g0, g1) - slack, (REAL)0), most);
  const REAL to = fmin(fmax(fmax(g0, g1) + slack, (REAL)-1), most - 1);
  if (band.all) return;
  *end = *first + (int)floor(to) + 1;
  *first += (int)ceil(from);
}

// Adds to `sinogram (slice, view, column)` or `(view, row, column)`, times `slope (row, column)`.
//
// A thread owns a column of a view and DEPTH slices or rows. It goes through the image row by row,
// and in each over the few pixels that shade its column. Views whose rays run along x take the
// image turned, (z, x, y), so that neighbours still read neighbours: `fast` is the axis across the
// rays, `slow` the one along them. image: (slice or z, extent, n_fast), from slow index `origin`.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT_FORWARD)
    forward(const REAL *__restrict__ image, REAL *__restrict__ sinogram,
            const double *__restrict__ beam, const double *__restrict__ turns,
            const REAL *__restrict__ axials, const REAL *__restrict__ xs,
            const REAL *__restrict__ ys, const REAL *__restrict__ slope,
            const int *__restrict__ chosen, int turned, int origin, int extent, int views,
            int count, int columns, int nz, int ny, int nx) {
  __shared__ Shadow shadows[GROUP];
  __shared__ REAL h[GROUP][NODES];
  __shared__ int lowest, highest, widest;
  const int kind = (int)beam[0], chunks = (columns + ACROSS - 1) / ACROSS;
  const int view = chosen[blockIdx.x / chunks], c0 = (int)blockIdx.x % chunks * ACROSS;
  const int c1 = (c0 + ACROSS < columns ? c0 + ACROSS : columns) - 1;
  const int thread = (int)threadIdx.x, threads = (int)blockDim.x;
  const int column = c0 + thread % ACROSS;
  const int first = ((int)blockIdx.y * (threads / ACROSS) + thread / ACROSS) * DEPTH;
  const bool used = column < columns && first < count;
  const double *turn = turns + 3 * view;
  const int n_fast = turned ? ny : nx, n_slow = turned ? nx : ny;
  const REAL *fast = turned ? ys : xs, *slow = turned ? xs : ys;
  const Rows rows = rows_of(kind, beam, turn, turned);
  const int across = (n_fast + TILE - 1) / TILE;
  const long long plane = (long long)extent * n_fast;
  REAL sum[DEPTH];
  for (int k = 0; k < DEPTH; ++k) sum[k] = 0;
  for (int m0 = origin; m0 < origin + extent; m0 += TILE) {
    const int m1 = m0 + TILE < n_slow ? m0 + TILE : n_slow;
    for (int tile0 = 0; tile0 < across; tile0 += GROUP) {
      __syncthreads();  // the last shadows have been used
      if (thread == 0) {
        lowest = GROUP;
        highest = widest = -1;
      }
      __syncthreads();
      for (int tile = thread; tile < GROUP && tile0 + tile < across; tile += threads) {
        const int f0 = (tile0 + tile) * TILE;
        const Shadow shadow =
            tile_shadow(beam, turn, xs, ys, turned ? m0 : f0, turned ? f0 : m0, nx, ny);
        shadows[tile] = shadow;
        if (shadow.first <= c1 && shadow.last >= c0) {
          atomicMin(&lowest, tile);
          atomicMax(&highest, tile);
          atomicMax(&widest, shadow.half);
        }
      }
      __syncthreads();
      if (highest < lowest) continue;
      fill(shadows + lowest, highest - lowest + 1, h + lowest);
      __syncthreads();
      if (!used) continue;
      const Band band = band_of(kind, beam, rows, column, widest);
      const int f_begin = (tile0 + lowest) * TILE, f_stop = (tile0 + highest + 1) * TILE;
      const int f_end = f_stop < n_fast ? f_stop : n_fast;
      for (int m = m0; m < m1; ++m) {
        int from = f_begin, to = f_end;
        narrow(rows, band, slow[m], fast[f_begin], &from, &to);
        const REAL *row = image + (long long)(m - origin) * n_fast;
        for (int f = from; f < to; ++f) {
          const int tile = f / TILE - tile0;
          const Shadow s = shadows[tile];
          const Place at = place(kind, s, turned ? slow[m] : fast[f], turned ? fast[f] : slow[m]);
          const REAL weight = coefficient(s, h[tile], at, column);
          if (weight != 0)
            add_pixel(sum, weight, row + f, plane, first, count, nz, axials + 3 * view, at.depth);
        }
      }
    }
  }
  if (!used) return;
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {
    if (first + k >= count) break;
#if NDIM == 2
    sinogram[((long long)(first + k) * views + view) * columns + column] += sum[k];
#else
    const long long ray = (long long)(first + k) * columns + column;
    sinogram[(long long)view * count * columns + ray] += sum[k] * slope[ray];
#endif
  }
}

// Adds to `image (slice, y, x)` or `(z, y, x)` the transpose of `forward` for the views from
// `view0` on; the caller has multiplied a cone's sinogram by the slopes. `sinogram` holds those
// views alone: `(slice, view, column)` or `(view, row, column)`.
//
// A thread owns a pixel and DEPTH slices or voxels, and gathers the columns that it shades.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT_ADJOINT)
    adjoint(REAL *__restrict__ image, const REAL *__restrict__ sinogram,
            const double *__restrict__ beam, const double *__restrict__ turns,
            const REAL *__restrict__ axials, const REAL *__restrict__ xs,
            const REAL *__restrict__ ys, int view0, int views, int count, int rows, int columns,
            int ny, int nx) {
  __shared__ Shadow shadows[GROUP];
  __shared__ REAL h[GROUP][NODES];
  const int kind = (int)beam[0], across = (nx + TILE - 1) / TILE;
  const int thread = (int)threadIdx.x, threads = (int)blockDim.x;
  const int strips = (TILE * TILE + threads - 1) / threads, tile = (int)blockIdx.x / strips;
  const int pixel = (int)blockIdx.x % strips * threads + thread;
  const int x0 = tile % across * TILE, y0 = tile / across * TILE;
  const int i = x0 + pixel % TILE, j = y0 + pixel / TILE, first = (int)blockIdx.y * DEPTH;
  const bool used = pixel < TILE * TILE && i < nx && j < ny;
  const long long plane = NDIM == 2 ? (long long)views * columns : columns;
  REAL sum[DEPTH];
  for (int k = 0; k < DEPTH; ++k) sum[k] = 0;
  for (int start = 0; start < views; start += GROUP) {
    const int together = views - start < GROUP ? views - start : GROUP;
    if (thread < together)
      shadows[thread] =
          tile_shadow(beam, turns + 3 * (view0 + start + thread), xs, ys, x0, y0, nx, ny);
    __syncthreads();
    fill(shadows, together, h);
    __syncthreads();
    for (int v = 0; used && v < together; ++v) {
      const Shadow &s = shadows[v];
      const Place at = place(kind, s, xs[i], ys[j]);
      // the coefficient's support: -1 <= cell - (column - first) * FINE <= 2 * half
      const int from = s.first - floor_div(2 * s.half - at.cell, FINE);
      const int to = s.first + floor_div(at.cell + 1, FINE);
      const int c_end = to < columns ? to + 1 : columns;
      const REAL *view = sinogram + (long long)(start + v) * (NDIM == 2 ? 1 : rows) * columns;
      for (int c = from > 0 ? from : 0; c < c_end; c += TAPS) {
        const int taps = c_end - c < TAPS ? c_end - c : TAPS;
        REAL weight[TAPS];
        for (int t = 0; t < TAPS; ++t)
          weight[t] = t < taps ? coefficient(s, h[v], at, c + t) : 0;
        add_columns(sum, weight, view + c, taps, plane, first, count, rows,
                    axials + 3 * (view0 + start + v), at.depth);
      }
    }
    __syncthreads();
  }
  if (!used) return;
  for (int k = 0; k < DEPTH && first + k < count; ++k)
    image[((long long)(first + k) * ny + j) * nx + i] += sum[k];
}
