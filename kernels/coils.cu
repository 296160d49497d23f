// Weighting an image by coil sensitivities and summing coil images, in one pass over memory.
//
// -D: REAL, float or double. Complex numbers are pairs; images are `(item, pixel)`, coil images
// `(item, coil, pixel)`, maps `(part, coil, pixel)`; item i takes part `i % parts`. A thread owns a
// pixel of every gridDim.y-th item.
struct __align__(2 * sizeof(REAL)) Complex {
  REAL re, im;
};

extern "C" __global__ void expand(Complex *__restrict__ result, const Complex *__restrict__ image,
                                  const Complex *__restrict__ maps, int items, int parts, int coils,
                                  int pixels) {
  const long long pixel = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (pixel >= pixels) return;
  for (int item = (int)blockIdx.y; item < items; item += (int)gridDim.y) {
    const Complex x = image[item * (long long)pixels + pixel];
    const Complex *map = maps + (item % parts) * (long long)coils * pixels + pixel;
    Complex *out = result + item * (long long)coils * pixels + pixel;
#pragma unroll 4
    for (int coil = 0; coil < coils; ++coil) {
      const Complex m = map[coil * (long long)pixels];
      out[coil * (long long)pixels] = {x.re * m.re - x.im * m.im, x.re * m.im + x.im * m.re};
    }
  }
}

extern "C" __global__ void combine(Complex *__restrict__ result,
                                   const Complex *__restrict__ images,
                                   const Complex *__restrict__ maps, int items, int parts,
                                   int coils, int pixels) {
  const long long pixel = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (pixel >= pixels) return;
  for (int item = (int)blockIdx.y; item < items; item += (int)gridDim.y) {
    const Complex *map = maps + (item % parts) * (long long)coils * pixels + pixel;
    const Complex *image = images + item * (long long)coils * pixels + pixel;
    Complex sum = {0, 0};
#pragma unroll 4
    for (int coil = 0; coil < coils; ++coil) {
      const Complex m = map[coil * (long long)pixels], x = image[coil * (long long)pixels];
      sum.re += x.re * m.re + x.im * m.im;
      sum.im += x.im * m.re - x.re * m.im;
    }
    result[item * (long long)pixels + pixel] = sum;
  }
}
