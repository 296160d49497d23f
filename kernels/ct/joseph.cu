// Joseph's projector on the GPU, for any geometry: joseph.py's formulas.
//
// A thread owns a ray, and DEPTH volumes of a batch that share it. Rays that step along x take the
// volume turned, (z, x, y), so that neighbours still read neighbours. Back, the same steps add to
// the volume by atomics: a voxel's rays on any detector are not found without tracing them, the
// adds of neighbours meet in the cache, and the coefficients are those of `forward` to the bit, as
// nothing but fma() fuses products and sums (--fmad=false, see cuda.py). The order of the sum, hence
// its last digit, may change from run to run.
//
// -D: REAL, DEPTH, FIXED (1: positions step in 32.32 fixed point, exact and without double
// precision in the loop, for float; 0: in double).
enum { PARALLEL, FLAT, CURVED };

#if FIXED
typedef long long Position;
static __device__ __forceinline__ Position position(double v) {
  return (Position)floor(v * 4294967296.0 + 0.5);
}
static __device__ __forceinline__ int cell(Position p) { return (int)(p >> 32); }
static __device__ __forceinline__ REAL part(Position p) {
  return (REAL)(unsigned)p * (REAL)(1 / 4294967296.0);
}
#else
typedef double Position;
static __device__ __forceinline__ Position position(double v) { return v; }
static __device__ __forceinline__ int cell(Position p) { return (int)floor(p); }
static __device__ __forceinline__ REAL part(Position p) { return p - floor(p); }
#endif

struct Ray {
  int axis, low, high;        // driving axis of z, y, x; first and last + 1 plane
  double b, db, c, dc;        // of the two others: position at plane `low`, and step, in voxels
  double length;              // mm a plane
};

// Narrows planes to those (one more at each end at most) with -1 < p + i dp < top.
static inline __device__ void clip(int *low, int *high, double p, double dp, double top) {
  if (fabs(dp) < 1e-12) {
    if (!(p > -1 && p < top)) *low = *high = 0;
    return;
  }
  const double a = (-1 - p) / dp, b = (top - p) / dp;
  const double first = fmin(fmax(fmin(a, b), *low - 1.0), *high + 1.0);
  const double last = fmax(fmin(fmax(a, b), *high + 1.0), *low - 1.0);
  const int from = (int)floor(first), to = (int)ceil(last) + 1;
  *low = from > *low ? from : *low;
  *high = to < *high ? to : *high;
}

// f: the view's frame (4, 3); numbers: curve (5), spacing (z, y, x), origin (z, y, x); row and
// column count from the middle of the detector.
static inline __device__ Ray ray_of(int kind, const double *f, const double *numbers, double row,
                             double column, const int *shape) {
  const double *spacing = numbers + 5, *origin = numbers + 8;
  double ahead = 0, aside = 0, up = 0, start[3], step[3];
  if (kind == CURVED) {
    const double angle = column * numbers[1] + numbers[2];
    ahead = numbers[0] * cos(angle);
    aside = numbers[0] * sin(angle);
    up = row * numbers[3] + numbers[4];
  }
  for (int axis = 0; axis < 3; ++axis) {
    const int i = 2 - axis;
    const double detector = f[3 + i] + row * f[6 + i] + column * f[9 + i];
    start[axis] = kind == PARALLEL ? detector : f[i];
    step[axis] = kind == CURVED   ? ahead * f[3 + i] + aside * f[9 + i] + up * f[6 + i]
                 : kind == PARALLEL ? f[i]
                                    : detector - f[i];
  }
  const double length = sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2]);
  for (int axis = 0; axis < 3; ++axis) {
    start[axis] = (start[axis] - origin[axis]) / spacing[axis];
    step[axis] /= length * spacing[axis];
  }
  Ray ray;
  ray.axis = fabs(step[1]) > fabs(step[0]) ? 1 : 0;
  if (fabs(step[2]) > fabs(step[ray.axis])) ray.axis = 2;
  const int a = ray.axis, b = a == 0 ? 1 : 0, c = a == 2 ? 1 : 2;
  ray.db = step[b] / step[a];
  ray.dc = step[c] / step[a];
  const double b0 = start[b] - start[a] * ray.db, c0 = start[c] - start[a] * ray.dc;
  ray.low = 0;
  ray.high = shape[a];
  clip(&ray.low, &ray.high, b0, ray.db, shape[b]);
  clip(&ray.low, &ray.high, c0, ray.dc, shape[c]);
  ray.b = b0 + ray.low * ray.db;
  ray.c = c0 + ray.low * ray.dc;
  ray.length = 1 / fabs(step[a]);
  return ray;
}

// The two voxels around a position on an axis: indices within the volume, weights zero outside.
struct Pair {
  int at[2];
  REAL weight[2];
};

static __device__ __forceinline__ Pair pair_at(Position p, int n) {
  const int i = cell(p);
  const REAL right = part(p);
  const bool first = i >= 0 && i < n, second = i + 1 >= 0 && i + 1 < n;
  Pair pair;
  pair.at[0] = first ? i : 0;
  pair.at[1] = second ? i + 1 : 0;
  pair.weight[0] = first ? 1 - right : 0;
  pair.weight[1] = second ? right : 0;
  return pair;
}

// What a thread needs to step along its ray.
struct Walk {
  Ray ray;
  int nb, nc;                  // voxels along the two other axes
  long long stride, sb, sc;    // of the driving and of the two other axes
  bool turned;
};

static inline __device__ Walk walk_of(int kind, const double *frames, const double *numbers,
                               long long index, int rows, int columns, int nz, int ny, int nx,
                               int has_turned) {
  const int shape[3] = {nz, ny, nx};
  const int column = (int)(index % columns), row = (int)(index / columns % rows);
  const long long view = index / columns / rows;
  Walk walk;
  walk.ray = ray_of(kind, frames + 12 * view, numbers, row - 0.5 * (rows - 1),
                    column - 0.5 * (columns - 1), shape);
  const int a = walk.ray.axis, b = a == 0 ? 1 : 0, c = a == 2 ? 1 : 2;
  walk.turned = has_turned && a == 2;
  const long long strides[3] = {(long long)ny * nx, walk.turned ? 1 : nx, walk.turned ? ny : 1};
  walk.nb = shape[b];
  walk.nc = shape[c];
  walk.stride = strides[a];
  walk.sb = strides[b];
  walk.sc = strides[c];
  return walk;
}

// Projects `volume (item, z, y, x)`, or `turned (item, z, x, y)`, into `sinogram (item, ray)`.
extern "C" __global__ void forward(const REAL *__restrict__ volume,
                                   const REAL *__restrict__ turned, REAL *__restrict__ sinogram,
                                   const double *__restrict__ frames,
                                   const double *__restrict__ numbers, int kind, int has_turned,
                                   int count, int views, int rows, int columns, int nz, int ny,
                                   int nx) {
  const long long rays = (long long)views * rows * columns, size = (long long)nz * ny * nx;
  const long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const int first = (int)blockIdx.y * DEPTH;
  if (index >= rays) return;
  const Walk walk =
      walk_of(kind, frames, numbers, index, rows, columns, nz, ny, nx, has_turned);
  const REAL *data = (walk.turned ? turned : volume) + first * size;
  const Position b = position(walk.ray.b), c = position(walk.ray.c);
  const Position db = position(walk.ray.db), dc = position(walk.ray.dc);
  REAL sum[DEPTH];
  for (int k = 0; k < DEPTH; ++k) sum[k] = 0;
  for (int i = walk.ray.low; i < walk.ray.high; ++i) {
    const int n = i - walk.ray.low;
    const Pair pb = pair_at(b + n * db, walk.nb), pc = pair_at(c + n * dc, walk.nc);
    for (int q = 0; q < 4; ++q) {
      const REAL weight = pb.weight[q >> 1] * pc.weight[q & 1];
      if (weight == 0) continue;
      const long long at = i * walk.stride + pb.at[q >> 1] * walk.sb + pc.at[q & 1] * walk.sc;
#pragma unroll
      for (int k = 0; k < DEPTH; ++k)
        if (first + k < count) sum[k] = fma(weight, data[k * size + at], sum[k]);
    }
  }
  for (int k = 0; k < DEPTH && first + k < count; ++k)
    sinogram[(first + k) * rays + index] = sum[k] * (REAL)walk.ray.length;
}

// Adds the transpose: rays that step along x to `turned`, the others to `volume`.
extern "C" __global__ void adjoint(REAL *__restrict__ volume, REAL *__restrict__ turned,
                                   const REAL *__restrict__ sinogram,
                                   const double *__restrict__ frames,
                                   const double *__restrict__ numbers, int kind, int has_turned,
                                   int count, int views, int rows, int columns, int nz, int ny,
                                   int nx) {
  const long long rays = (long long)views * rows * columns, size = (long long)nz * ny * nx;
  const long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const int first = (int)blockIdx.y * DEPTH;
  if (index >= rays) return;
  const Walk walk =
      walk_of(kind, frames, numbers, index, rows, columns, nz, ny, nx, has_turned);
  REAL *data = (walk.turned ? turned : volume) + first * size;
  const Position b = position(walk.ray.b), c = position(walk.ray.c);
  const Position db = position(walk.ray.db), dc = position(walk.ray.dc);
  REAL value[DEPTH];
  for (int k = 0; k < DEPTH; ++k)
    value[k] = first + k < count
                   ? sinogram[(first + k) * rays + index] * (REAL)walk.ray.length : 0;
  for (int i = walk.ray.low; i < walk.ray.high; ++i) {
    const int n = i - walk.ray.low;
    const Pair pb = pair_at(b + n * db, walk.nb), pc = pair_at(c + n * dc, walk.nc);
    for (int q = 0; q < 4; ++q) {
      const REAL weight = pb.weight[q >> 1] * pc.weight[q & 1];
      if (weight == 0) continue;
      const long long at = i * walk.stride + pb.at[q >> 1] * walk.sb + pc.at[q & 1] * walk.sc;
#pragma unroll
      for (int k = 0; k < DEPTH; ++k)
        if (first + k < count) atomicAdd(data + k * size + at, weight * value[k]);
    }
  }
}
