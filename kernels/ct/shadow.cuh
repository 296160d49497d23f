// The shadow of a pixel on the detector: footprint.py on the GPU, its names and its formulas.
//
// What depends on a tile and a view alone is computed in double; positions within the tile are
// REAL. Both directions call `place` and `coefficient`; products and sums are fused by fma() alone
// (--fmad=false, see cuda.py): the same pixel and column get the same number, to the bit, hence an
// exact transpose.
//
// In a cone (NDIM 3), as there, no fine grid stands between: FINE is 1, and each pixel's trapezoid
// is integrated over the column along its own ray.
//
// -D: REAL, NDIM, FINE (cells of the fine grid per column), TILE (pixels of a tile in x and y).
#pragma once
#if NDIM == 2
#define NODES 128  // of a footprint kept in shared memory: pixels some 5 columns wide
#else
#define NODES 1  // none is kept
#endif

#define GROUP 32    // shadows, of tiles or views, that stand in shared memory together
#define LEAST 1e-3  // columns that half a side seen end on counts as: no box may be a delta

enum { PARALLEL, FLAT, CURVED };

struct __align__(16) Shadow {
  REAL cosine, sine, along, across, scale, offset, strength;  // of `place`
  REAL side_x, side_y;    // half of a pixel's sides times columns a radian
  int first, last, half;  // columns reached on an unlimited detector; half width in fine cells
  bool wide;              // the tile's angles are too large for the arc tangent's series
  double a, b;            // half of a pixel's sides seen along the ray, in columns
};

struct Place {
  int cell;           // of the fine grid
  REAL part, weight;  // place in the cell (0..1); chord times columns a mm
  REAL depth;         // from the source: along the central ray, or in the plane where curved
  REAL a, b;          // half of the longer and the shorter side seen along the ray, in columns
};

// Column (a real number) that a point is seen at. beam: kind, source to isocenter and detector,
// column spacing, middle column, pixel sides.
inline __device__ double column_of(const double *beam, double cosine, double sine, double x,
                                   double y) {
  const int kind = (int)beam[0];
  const double s = x * cosine + y * sine, d = beam[1] - x * sine + y * cosine;
  if (kind == PARALLEL) return s / beam[3] + beam[4];
  if (kind == FLAT) return beam[2] * s / (d * beam[3]) + beam[4];
  return beam[2] * atan2(s, d) / beam[3] + beam[4];
}

// turn: cosine, sine and height of the view; x0..x1, y0..y1: outer pixel centres of the tile.
inline __device__ Shadow shadow_of(const double *beam, const double *turn, REAL x0, REAL x1,
                                   REAL y0, REAL y1) {
  const int kind = (int)beam[0];
  const double cosine = turn[0], sine = turn[1], sid = beam[1], sdd = beam[2], spacing = beam[3];
  const double xc = 0.5 * (x0 + x1), yc = 0.5 * (y0 + y1);
  const double s = xc * cosine + yc * sine, d = sid - xc * sine + yc * cosine;
  const double r = sqrt(s * s + d * d);
  double turn_c = cosine, turn_s = sine, scale = 1 / spacing;
  if (kind != PARALLEL) {
    turn_c = (cosine * d + sine * s) / r;
    turn_s = (sine * d - cosine * s) / r;
    scale = kind == CURVED ? sdd / (r * spacing) : sdd * r / (d * d * spacing);
  }
  const double dx = x1 - x0, dy = y1 - y0, reach = 0.5 * sqrt(dx * dx + dy * dy);
  Shadow shadow;
  shadow.a = fmax(0.5 * beam[5] * fabs(turn_c) * scale, LEAST);
  shadow.b = fmax(0.5 * beam[6] * fabs(turn_s) * scale, LEAST);
  double low = 1e300, high = -1e300, near = 1e300, side_x = 0, side_y = 0;
  for (int i = 0; i < 4; ++i) {
    const double x = i & 1 ? x1 : x0, y = i >> 1 ? y1 : y0;
    const double t = column_of(beam, cosine, sine, x, y);
    low = fmin(low, t);
    high = fmax(high, t);
    near = fmin(near, sid - x * sine + y * cosine);
    side_x = fmax(side_x, fabs(sid * cosine + y));
    side_y = fmax(side_y, fabs(sid * sine - x));
  }
  double sides = shadow.a + shadow.b;
  if (NDIM == 3) {  // at least as long as any pixel's of the tile
    if (kind == CURVED) near = fmax(near, r - reach);
    sides = 0.5 * (beam[5] * side_x + beam[6] * side_y) * sdd / (spacing * near * near);
    sides = fmax(sides, LEAST) + LEAST;
  }
  shadow.half = (int)ceil((sides + 0.5) * FINE);
  shadow.side_x = (REAL)(0.5 * beam[5] * sdd / spacing);
  shadow.side_y = (REAL)(0.5 * beam[6] * sdd / spacing);
  shadow.first = (int)ceil(low - (shadow.half + 1.0) / FINE);
  shadow.last = (int)floor(high + (shadow.half + 1.0) / FINE);
  const double offset = (beam[4] - shadow.first) * FINE + shadow.half;
  const double magnified = kind == PARALLEL ? 1 / spacing : sdd / spacing;
  shadow.cosine = (REAL)cosine;
  shadow.sine = (REAL)sine;
  shadow.along = (REAL)sid;
  shadow.across = 0;
  shadow.scale = (REAL)(FINE * magnified);
  shadow.offset = (REAL)offset;
  shadow.strength = (REAL)(beam[5] * beam[6] * magnified);
  shadow.wide = kind == CURVED && reach > 0.25 * (r - reach);
  if (kind == CURVED) {  // the frame turned about the source to the middle of the tile
    shadow.cosine = (REAL)turn_c;
    shadow.sine = (REAL)turn_s;
    shadow.along = (REAL)(sid * d / r);
    shadow.across = (REAL)(-sid * s / r);
    shadow.offset = (REAL)(offset + FINE * magnified * atan2(s, d));
  }
  return shadow;
}

// Of the tile from pixel (y0, x0) on.
__device__ __forceinline__ Shadow tile_shadow(const double *beam, const double *turn,
                                              const REAL *xs, const REAL *ys, int x0,
                                              int y0, int nx, int ny) {
  const int x1 = (x0 + TILE < nx ? x0 + TILE : nx) - 1, y1 = (y0 + TILE < ny ? y0 + TILE : ny) - 1;
  return shadow_of(beam, turn, xs[x0], xs[x1], ys[y0], ys[y1]);
}

__device__ __forceinline__ double squared_ramp(double u) { return u > 0 ? u * u : 0; }

// box(2a) * box(2b) * box(1) at fine node j: the trapezoid's integral, differenced over a column.
inline __device__ double node(const Shadow &shadow, int j) {
  const double a = shadow.a, b = shadow.b, outer = a + b, inner = fabs(a - b);
  const double u = (double)(j - shadow.half) / FINE, v = u + 0.5, w = u - 0.5;
  if (j < 0 || j > 2 * shadow.half) return 0;
  return (squared_ramp(v + outer) - squared_ramp(v + inner) - squared_ramp(v - inner) +
          squared_ramp(v - outer) - squared_ramp(w + outer) + squared_ramp(w + inner) +
          squared_ramp(w - inner) - squared_ramp(w - outer)) / (8 * a * b);
}

__device__ __forceinline__ bool fits(const Shadow &shadow) {
  return 2 * shadow.half + 3 <= NODES;
}

// The threads of a block fill the footprints of some shadows, a zero before and behind each.
inline __device__ void fill(const Shadow *shadows, int count, REAL (*h)[NODES]) {
#if NDIM == 2
  for (int i = (int)threadIdx.x; i < count * NODES; i += (int)blockDim.x) {
    const Shadow &shadow = shadows[i / NODES];
    const int j = i % NODES - 1;
    if (fits(shadow) && j <= 2 * shadow.half + 1) h[i / NODES][j + 1] = (REAL)node(shadow, j);
  }
#endif
}

__device__ __forceinline__ Place place(int kind, const Shadow &shadow, REAL x, REAL y) {
  Place at;
  const REAL s = fma(x, shadow.cosine, fma(y, shadow.sine, shadow.across));
  REAL t;
  if (kind == PARALLEL) {
    t = fma(s, shadow.scale, shadow.offset);
    at.weight = shadow.strength;
    at.depth = at.a = at.b = 0;
  } else {
    const REAL d = fma(-x, shadow.sine, fma(y, shadow.cosine, shadow.along));
    const REAL inverse = 1 / d, z = s * inverse, q = z * z, root = sqrt(1 + q);
    const REAL square = kind == FLAT ? inverse : inverse / (1 + q), least = (REAL)LEAST;
    const REAL across = shadow.side_x * fabs(fma(shadow.sine, z, shadow.cosine)) * square;
    const REAL along = shadow.side_y * fabs(fma(-shadow.cosine, z, shadow.sine)) * square;
    at.a = fmax(fmax(across, along), least);
    at.b = fmax(fmin(across, along), least);
    if (kind == FLAT) {
      t = fma(z, shadow.scale, shadow.offset);
      at.weight = shadow.strength * inverse * root;
      at.depth = d;
    } else {  // the arc tangent's series: the tile's angles are small
      const REAL third = (REAL)(1. / 3), fifth = (REAL)(1. / 5), seventh = (REAL)(1. / 7);
      const REAL series = fma(-q, fma(-q, fma(-q, fma(-q, (REAL)(1. / 9), seventh), fifth), third),
                              (REAL)1);
      t = fma(shadow.wide ? (REAL)atan(z) : z * series, shadow.scale, shadow.offset);
      at.weight = shadow.strength * inverse / root;
      at.depth = d * root;
    }
  }
  const REAL whole = floor(t);
  at.cell = (int)whole;
  at.part = t - whole;
  return at;
}

// Integral of the integral of box(2b): zero, then a parabola, then u.
__device__ __forceinline__ REAL ramp(REAL u, REAL b) {
  const REAL inside = fmin(fmax(u, -b), b) + b;
  return fma(inside * inside, (REAL)0.25 / b, fmax(u - b, (REAL)0));
}

// What a pixel adds to a column, times the weight: in a plane the footprint between two fine
// nodes, in a cone the trapezoid's integral over the column.
__device__ __forceinline__ REAL coefficient(const Shadow &shadow, const REAL *h,
                                            const Place &at, int column) {
  const int k = at.cell - (column - shadow.first) * FINE;
#if NDIM == 2
  if (k < -1 || k > 2 * shadow.half) return 0;
  const bool kept = fits(shadow);
  const REAL left = kept ? h[k + 1] : (REAL)node(shadow, k);
  const REAL right = kept ? h[k + 2] : (REAL)node(shadow, k + 1);
  return at.weight * fma(at.part, right - left, left);
#else
  const REAL middle = (REAL)(shadow.half - k) - at.part;  // of the column, seen from the pixel
  const REAL u = middle - (REAL)0.5, v = middle + (REAL)0.5, end = at.a + at.b;
  if (u >= end || v <= -end) return 0;
  const REAL up_to_u = ramp(u + at.a, at.b) - ramp(u - at.a, at.b);
  const REAL up_to_v = ramp(v + at.a, at.b) - ramp(v - at.a, at.b);
  return at.weight * (up_to_v - up_to_u) / (2 * at.a);
#endif
}

// Division that rounds down, for a positive divisor.
__device__ __forceinline__ int floor_div(int a, int b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

// Row boundaries over one column of voxels, in voxels: boundary r lies at first + r * step.
struct RowMap {
  REAL first, step, inverse;
};

// axial: of a view: voxels a row and mm of depth, lower edge of the rows in rows, height of the
// source above the lower edge of the volume in voxels.
__device__ __forceinline__ RowMap row_map(const REAL *axial, REAL depth) {
  RowMap map;
  map.step = axial[0] * depth;
  map.inverse = 1 / map.step;
  map.first = fma(axial[1], map.step, axial[2]);
  return map;
}

__device__ __forceinline__ REAL boundary(const RowMap &map, int row) {
  return fma((REAL)row, map.step, map.first);
}
