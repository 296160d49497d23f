// The NUFFT's passes on the GPU, beside the FFT: padding, interpolation, spreading, cropping.
//
// Compiled once for each precision, dimension and window, with -D: REAL and REAL2 (float, float2
// or double), NDIM, WIDTH (taps of the window), GROUP (lanes that spread one coil: 16 or 32),
// CELLS (cells of a tile with its halo), THREADS (of a spreading block).
//
// Grids are (frame, coil, z, y, x), the origin first, periodic. A sample's window weights are
// looked up once for all coils. Spreading: samples are sorted by tile; a group of lanes owns one
// tile of one coil in shared memory, its lanes the cells of a window, so that no two threads ever
// add to the same cell; tiles of one colour never touch the same cell of the grid either. Hence
// no atomics, and the same sum in every run.

#define ROWS (NDIM > 1 ? WIDTH : 1)
#define PLANES (NDIM > 2 ? WIDTH : 1)
#define TAPS (WIDTH * ROWS * PLANES)

// Image pixel that lies at a cell of the padded axis, or -1 between the two halves.
static __device__ __forceinline__ int pixel_at(int cell, int pixels, int cells) {
  const int left = pixels / 2;
  if (cell < pixels - left) return cell + left;
  return cell < cells - left ? -1 : cell - (cells - left);
}

static __device__ __forceinline__ int cell_at(int pixel, int pixels, int cells) {
  const int cell = pixel - pixels / 2;
  return cell < 0 ? cell + cells : cell;
}

// Images (frame, all_coils, nz, ny, nx) to padded grids of some frames and coils, deapodised.
extern "C" __global__ void pad(const REAL2 *image, const REAL *scale_z, const REAL *scale_y,
                               const REAL *scale_x, REAL2 *grid, int frame0, int frames,
                               int coil0, int coils, int all_coils, int nz, int ny, int nx,
                               int gz, int gy, int gx) {
  const long long cells = (long long)gz * gy * gx, total = cells * frames * coils;
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
    const long long cell = i % cells;
    const int item = (int)(i / cells), frame = frame0 + item / coils, coil = coil0 + item % coils;
    const int x = pixel_at((int)(cell % gx), nx, gx);
    const int y = pixel_at((int)(cell / gx % gy), ny, gy);
    const int z = pixel_at((int)(cell / gx / gy), nz, gz);
    REAL2 value;
    value.x = value.y = 0;
    if (x >= 0 && y >= 0 && z >= 0) {
      const REAL scale = scale_z[z] * scale_y[y] * scale_x[x];
      value = image[((((long long)frame * all_coils + coil) * nz + z) * ny + y) * nx + x];
      value.x *= scale;
      value.y *= scale;
    }
    grid[i] = value;
  }
}

// The transpose of pad.
extern "C" __global__ void crop(REAL2 *image, const REAL *scale_z, const REAL *scale_y,
                                const REAL *scale_x, const REAL2 *grid, int frame0, int frames,
                                int coil0, int coils, int all_coils, int nz, int ny, int nx,
                                int gz, int gy, int gx) {
  const long long pixels = (long long)nz * ny * nx, total = pixels * frames * coils;
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
    const int item = (int)(i / pixels), frame = frame0 + item / coils, coil = coil0 + item % coils;
    const long long pixel = i % pixels;
    const int x = (int)(pixel % nx), y = (int)(pixel / nx % ny), z = (int)(pixel / nx / ny);
    const long long cell =
        ((long long)cell_at(z, nz, gz) * gy + cell_at(y, ny, gy)) * gx + cell_at(x, nx, gx);
    const REAL scale = scale_z[z] * scale_y[y] * scale_x[x];
    REAL2 value = grid[(long long)item * gz * gy * gx + cell];
    value.x *= scale;
    value.y *= scale;
    image[((long long)frame * all_coils + coil) * pixels + pixel] = value;
  }
}

// Grids to samples (frame, all_coils, sample). A thread takes one sample and all of its coils.
// first: flat cell under the first tap; weights (frame, sample, NDIM, WIDTH), x first; order: where
// a sorted sample stands in the data.
extern "C" __global__ void interpolate(const REAL2 *grid, const int *first, const REAL *weights,
                                       const int *order, REAL2 *data, int frame0, int frames,
                                       int coil0, int coils, int all_coils, int samples, int gz,
                                       int gy, int gx) {
  const long long cells = (long long)gz * gy * gx;
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= samples) return;
  for (int item = blockIdx.y; item < frames; item += gridDim.y) {
    const long long sample = (long long)(frame0 + item) * samples + j;
    const REAL *window = weights + sample * NDIM * WIDTH;
    const int x0 = first[sample] % gx, y0 = first[sample] / gx % gy, z0 = first[sample] / gx / gy;
    for (int coil = 0; coil < coils; ++coil) {
      const REAL2 *field = grid + ((long long)item * coils + coil) * cells;
      REAL2 sum;
      sum.x = sum.y = 0;
      for (int tz = 0; tz < PLANES; ++tz) {
        const int z = z0 + tz < gz ? z0 + tz : z0 + tz - gz;
        for (int ty = 0; ty < ROWS; ++ty) {
          const int y = y0 + ty < gy ? y0 + ty : y0 + ty - gy;
          const REAL2 *row = field + ((long long)z * gy + y) * gx;
          REAL weight = 1;
          if (NDIM > 1) weight *= window[WIDTH + ty];
          if (NDIM > 2) weight *= window[2 * WIDTH + tz];
          for (int tx = 0; tx < WIDTH; ++tx) {
            const REAL2 value = row[x0 + tx < gx ? x0 + tx : x0 + tx - gx];
            sum.x += weight * window[tx] * value.x;
            sum.y += weight * window[tx] * value.y;
          }
        }
      }
      const long long at = (long long)(frame0 + item) * all_coils + coil0 + coil;
      data[at * samples + order[sample]] = sum;
    }
  }
}

// Samples into the grids: the tiles of one colour, one a block, GROUP lanes a coil.
// tasks (task, 6): frame, first and last + 1 of the tile's sorted samples, its origin (z, y, x).
extern "C" __global__ void spread(const int *tasks, const REAL2 *data, const int *first,
                                  const REAL *weights, const int *order, REAL2 *grid, int frame0,
                                  int coil0, int coils, int all_coils, int samples, int edge,
                                  int gz, int gy, int gx) {
  __shared__ REAL2 tiles[THREADS / GROUP][CELLS];
  const int lane = threadIdx.x % GROUP, group = threadIdx.x / GROUP;
  const int *task = tasks + 6 * (long long)blockIdx.x;
  const int frame = task[0], begin = task[1], end = task[2];
  const int lx = edge + WIDTH - 1, ly = NDIM > 1 ? lx : 1, lz = NDIM > 2 ? lx : 1;
  const int coil = blockIdx.y * (THREADS / GROUP) + group;
  const bool used = coil < coils;  // lanes without a coil must still take part in the shuffles
  const REAL2 *values = data + ((long long)frame * all_coils + coil0 + coil) * samples;
  REAL2 *tile = tiles[group];
  for (int c = lane; c < lx * ly * lz; c += GROUP) tile[c].x = tile[c].y = 0;
  __syncwarp();
  for (int start = begin; start < end; start += GROUP) {
    REAL2 value;
    value.x = value.y = 0;
    int origin = 0;
    const long long mine = (long long)frame * samples + start + lane;
    if (used && start + lane < end) {
      value = values[order[mine]];
      const int cell = first[mine];
      origin = ((cell / gx / gy - task[3]) * ly + cell / gx % gy - task[4]) * lx;
      origin += cell % gx - task[5];
    }
    const int count = end - start < GROUP ? end - start : GROUP;
    for (int k = 0; k < count; ++k) {
      const REAL re = __shfl_sync(0xffffffffu, value.x, k, GROUP);
      const REAL im = __shfl_sync(0xffffffffu, value.y, k, GROUP);
      const int at = __shfl_sync(0xffffffffu, origin, k, GROUP);
      const REAL *window = weights + ((long long)frame * samples + start + k) * NDIM * WIDTH;
      for (int tap = lane; tap < TAPS; tap += GROUP) {
        const int tx = tap % WIDTH, ty = tap / WIDTH % ROWS, tz = tap / WIDTH / ROWS;
        REAL weight = window[tx];
        if (NDIM > 1) weight *= window[WIDTH + ty];
        if (NDIM > 2) weight *= window[2 * WIDTH + tz];
        REAL2 *cell = tile + at + (tz * ly + ty) * lx + tx;
        cell->x += weight * re;
        cell->y += weight * im;
      }
      __syncwarp();
    }
  }
  if (!used) return;
  REAL2 *field = grid + ((long long)(frame - frame0) * coils + coil) * gz * gy * gx;
  for (int c = lane; c < lx * ly * lz; c += GROUP) {
    int x = task[5] + c % lx, y = task[4] + c / lx % ly, z = task[3] + c / lx / ly;
    x = x < gx ? x : x - gx;
    y = y < gy ? y : y - gy;
    z = z < gz ? z : z - gz;
    REAL2 *cell = field + ((long long)z * gy + y) * gx + x;
    cell->x += tile[c].x;
    cell->y += tile[c].y;
  }
}
