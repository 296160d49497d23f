// The NUFFT's passes on the GPU, beside the FFT: padding, interpolation, spreading, cropping.
//
// Compiled once for each precision, dimension and window, with -D: REAL and REAL2 (float, float2
// or double), NDIM, WIDTH (taps of the window), GROUP (lanes that spread one coil: 16 or 32),
// CELLS (cells of a tile with its halo), THREADS (of a spreading block).
//
// Grids are (frame, coil, z, y, x), the origin first, periodic. A sample's window weights are
// looked up once for all coils. Spreading: samples are sorted by tile; a group of lanes owns one
// tile of one coil in shared memory, its lanes the cells of a window, so that no two threads ever
// add to the same cell; tiles of one colour never touch the same cell of the grid either. A crowded
// tile, such as the centre of radial scans, goes in pieces at once. Hence no atomics, and the same
// sum in every run.

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

// Adds a task's samples to the group's tile. The block's groups take the same samples, each for its
// own coil: their windows and places are read together.
static __device__ __forceinline__ void add_samples(REAL2 *tile, const int *task,
                                                   const REAL2 *values, const int *first,
                                                   const REAL *weights, const int *order, bool used,
                                                   int samples, int lx, int ly, int gy, int gx) {
  __shared__ REAL windows[GROUP * NDIM * WIDTH];
  __shared__ int origins[GROUP];
  const int thread = (int)threadIdx.x, lane = thread % GROUP;
  const int begin = task[1], end = task[2];
  for (int start = begin; start < end; start += GROUP) {
    const int count = end - start < GROUP ? end - start : GROUP;
    const long long at = (long long)task[0] * samples + start;
    __syncthreads();  // the last samples have been added
    for (int i = thread; i < count * NDIM * WIDTH; i += (int)blockDim.x)
      windows[i] = weights[at * NDIM * WIDTH + i];
    if (thread < count) {
      const int cell = first[at + thread];
      origins[thread] = ((cell / gx / gy - task[3]) * ly + cell / gx % gy - task[4]) * lx +
                        cell % gx - task[5];
    }
    REAL2 value;
    value.x = value.y = 0;
    if (used && lane < count) value = values[order[at + lane]];
    __syncthreads();
    for (int k = 0; k < count; ++k) {
      const REAL re = __shfl_sync(0xffffffffu, value.x, k, GROUP);
      const REAL im = __shfl_sync(0xffffffffu, value.y, k, GROUP);
      const REAL *window = windows + k * NDIM * WIDTH;
      for (int tap = lane; tap < TAPS; tap += GROUP) {
        const int tx = tap % WIDTH, ty = tap / WIDTH % ROWS, tz = tap / WIDTH / ROWS;
        REAL weight = window[tx];
        if (NDIM > 1) weight *= window[WIDTH + ty];
        if (NDIM > 2) weight *= window[2 * WIDTH + tz];
        REAL2 *cell = tile + origins[k] + (tz * ly + ty) * lx + tx;
        cell->x += weight * re;
        cell->y += weight * im;
      }
      __syncwarp();
    }
  }
}

// Samples of crowded tiles, beyond their first: a piece a block, its tile into `parts (piece,
// coil, cell)`.
//
// tasks (task, 8): frame, first and last + 1 of the sorted samples, origin of the tile (z, y, x);
// pieces of the same tile: the first, and how many.
extern "C" __global__ void spread_parts(const int *tasks, const REAL2 *data, const int *first,
                                        const REAL *weights, const int *order, REAL2 *parts,
                                        int coil0, int coils, int all_coils, int samples, int edge,
                                        int gz, int gy, int gx) {
  __shared__ REAL2 tiles[THREADS / GROUP][CELLS];
  const int lane = (int)threadIdx.x % GROUP, group = (int)threadIdx.x / GROUP;
  const int *task = tasks + 8 * (long long)blockIdx.x;
  const int lx = edge + WIDTH - 1, ly = NDIM > 1 ? lx : 1, lz = NDIM > 2 ? lx : 1;
  const int coil = blockIdx.y * (THREADS / GROUP) + group;
  const bool used = coil < coils;  // lanes without a coil must still take part in the shuffles
  const REAL2 *values = data + ((long long)task[0] * all_coils + coil0 + coil) * samples;
  REAL2 *tile = tiles[group];
  for (int c = lane; c < lx * ly * lz; c += GROUP) tile[c].x = tile[c].y = 0;
  add_samples(tile, task, values, first, weights, order, used, samples, lx, ly, gy, gx);
  if (!used) return;
  REAL2 *part = parts + ((long long)blockIdx.x * coils + coil) * CELLS;
  for (int c = lane; c < lx * ly * lz; c += GROUP) part[c] = tile[c];
}

// Samples into the grids: the tiles of one colour, one a block, GROUP lanes a coil; `parts` holds
// what pieces of crowded tiles have added up, from piece `part0` on.
extern "C" __global__ void spread(const int *tasks, const REAL2 *data, const int *first,
                                  const REAL *weights, const int *order, const REAL2 *parts,
                                  REAL2 *grid, int part0, int frame0, int coil0, int coils,
                                  int all_coils, int samples, int edge, int gz, int gy, int gx) {
  __shared__ REAL2 tiles[THREADS / GROUP][CELLS];
  const int lane = (int)threadIdx.x % GROUP, group = (int)threadIdx.x / GROUP;
  const int *task = tasks + 8 * (long long)blockIdx.x;
  const int frame = task[0];
  const int lx = edge + WIDTH - 1, ly = NDIM > 1 ? lx : 1, lz = NDIM > 2 ? lx : 1;
  const int coil = blockIdx.y * (THREADS / GROUP) + group;
  const bool used = coil < coils;
  const REAL2 *values = data + ((long long)frame * all_coils + coil0 + coil) * samples;
  REAL2 *tile = tiles[group];
  for (int c = lane; c < lx * ly * lz; c += GROUP) tile[c].x = tile[c].y = 0;
  add_samples(tile, task, values, first, weights, order, used, samples, lx, ly, gy, gx);
  if (!used) return;
  const REAL2 *part = parts + ((long long)(task[6] - part0) * coils + coil) * CELLS;
  REAL2 *field = grid + ((long long)(frame - frame0) * coils + coil) * gz * gy * gx;
  for (int c = lane; c < lx * ly * lz; c += GROUP) {
    REAL2 sum = tile[c];
    for (int piece = 0; piece < task[7]; ++piece) {
      const REAL2 more = part[(long long)piece * coils * CELLS + c];
      sum.x += more.x;
      sum.y += more.y;
    }
    int x = task[5] + c % lx, y = task[4] + c / lx % ly, z = task[3] + c / lx / ly;
    x = x < gx ? x : x - gx;
    y = y < gy ? y : y - gy;
    z = z < gz ? z : z - gz;
    REAL2 *cell = field + ((long long)z * gy + y) * gx + x;
    cell->x += sum.x;
    cell->y += sum.y;
  }
}
