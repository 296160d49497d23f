// Enough of CUDA to run a kernel on the CPU: the threads of a block are fibres that take turns at
// every __syncthreads, __syncwarp and shuffle; blocks run one after another.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>  // float and double versions without std::, as in CUDA
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__ __restrict

struct float2 { float x, y; };
struct double2 { double x, y; };
struct dim3 { unsigned x, y, z; };

namespace host {
struct Fibre {
  ucontext_t context;
  std::vector<char> stack;
  bool done;
};
inline dim3 block_dim, grid_dim, block;
inline std::vector<Fibre> fibres;
inline std::vector<double> slots;  // what each lane offers to a shuffle
inline ucontext_t scheduler;
inline unsigned current;
inline void (*body)();

inline void wait() { swapcontext(&fibres[current].context, &scheduler); }
inline void enter() {
  body();
  fibres[current].done = true;
}
// All threads run up to their next wait, in turn, until all are done.
inline void run_block(unsigned threads) {
  fibres.resize(threads);
  slots.assign(threads, 0);
  for (auto &fibre : fibres) {
    fibre.stack.resize(1 << 16);
    fibre.done = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, enter, 0);
  }
  for (bool busy = true; busy;) {
    busy = false;
    for (current = 0; current < threads; ++current) {
      if (fibres[current].done) continue;
      busy = true;
      swapcontext(&scheduler, &fibres[current].context);
    }
  }
}
template <class T> T shuffle(T value, int lane, int width) {
  slots[current] = (double)value;
  wait();  // every lane has offered
  const T got = (T)slots[current / width * width + lane];
  wait();  // every lane has read
  return got;
}
template <class... A, std::size_t... I>
void launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads, void **arguments,
            std::index_sequence<I...>) {
  static std::tuple<std::remove_cv_t<A>...> values;
  static void (*function)(A...);
  function = kernel;
  values = std::tuple<std::remove_cv_t<A>...>(*(std::remove_cv_t<A> *)arguments[I]...);
  body = [] { std::apply(function, values); };
  grid_dim = {x, y, 1};
  block_dim = {threads, 1, 1};
  for (block.y = 0; block.y < y; ++block.y)
    for (block.x = 0; block.x < x; ++block.x) run_block(threads);
}
template <class... A>
void launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads, void **arguments) {
  launch(kernel, x, y, threads, arguments, std::index_sequence_for<A...>());
}
}  // namespace host

// Threads take turns: what one does between two waits is atomic.
template <class T> T atomicAdd(T *at, T value) { const T old = *at; *at += value; return old; }
inline int atomicMin(int *at, int value) { const int old = *at; if (value < old) *at = value; return old; }
inline int atomicMax(int *at, int value) { const int old = *at; if (value > old) *at = value; return old; }

#define blockDim host::block_dim
#define gridDim host::grid_dim
#define blockIdx host::block
#define threadIdx (dim3{host::current, 0, 0})
#define __syncthreads() host::wait()
#define __syncwarp() host::wait()
#define __shfl_sync(mask, value, lane, width) host::shuffle(value, lane, width)
