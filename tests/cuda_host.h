// Enough of CUDA to run a kernel on the CPU: the threads of a block are fibres that take turns at
// every __syncthreads, __syncwarp and shuffle; blocks run one after another.
//
// A barrier opens when all threads of the block (of the warp) wait at it, at one line of the source.
// Where that cannot come, since some have left or wait elsewhere, the launch fails: on a card it
// would hang, or not be a barrier.
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
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)

struct float2 { float x, y; };
struct double2 { double x, y; };
struct dim3 { unsigned x, y, z; };

namespace host {
enum State { READY, AT_BLOCK, AT_WARP, DONE };
const unsigned WARP = 32;

struct Fibre {
  ucontext_t context;
  std::vector<char> stack;
  State state;
  int line;  // of the barrier that it waits at
};
inline dim3 block_dim, grid_dim, block;
inline std::vector<Fibre> fibres;
inline std::vector<double> slots;  // what each lane offers to a shuffle
inline ucontext_t scheduler;
inline unsigned current;
inline void (*body)();
inline char failure[200];

inline void wait(State barrier, int line) {
  fibres[current].state = barrier;
  fibres[current].line = line;
  swapcontext(&fibres[current].context, &scheduler);
}
inline void enter() {
  body();
  fibres[current].state = DONE;
}
// Lets threads first..last pass a barrier if all of them wait at it; whether they do.
inline bool open(State barrier, unsigned first, unsigned last) {
  for (unsigned i = first; i < last; ++i)
    if (fibres[i].state != barrier || fibres[i].line != fibres[first].line) return false;
  for (unsigned i = first; i < last; ++i) fibres[i].state = READY;
  return true;
}
// Says which barrier stays shut, and names a thread that does not come to it.
inline void fail() {
  unsigned at = 0;
  while (fibres[at].state == DONE) ++at;
  const Fibre &waiting = fibres[at];
  const bool warp = waiting.state == AT_WARP;
  unsigned other = warp ? at / WARP * WARP : 0;
  while (fibres[other].state == waiting.state && fibres[other].line == waiting.line) ++other;
  std::snprintf(failure, sizeof failure,
                "block (%u, %u): thread %u waits at the barrier of line %d, thread %u %s", block.x,
                block.y, at, std::abs(waiting.line), other,
                fibres[other].state == DONE ? "has left" : "waits elsewhere");
}
// All threads run up to their next barrier, in turn, until all are done; false if they cannot.
inline bool run_block(unsigned threads) {
  fibres.resize(threads);
  slots.assign(threads, 0);
  for (auto &fibre : fibres) {
    fibre.stack.resize(1 << 16);
    fibre.state = READY;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, enter, 0);
  }
  for (;;) {
    bool moved = false, done = true;
    for (current = 0; current < threads; ++current) {
      if (fibres[current].state != READY) continue;
      moved = true;
      swapcontext(&scheduler, &fibres[current].context);
    }
    for (const auto &fibre : fibres) done = done && fibre.state == DONE;
    if (done) return true;
    for (unsigned i = 0; i < threads; i += WARP)
      moved = open(AT_WARP, i, i + WARP < threads ? i + WARP : threads) || moved;
    moved = open(AT_BLOCK, 0, threads) || moved;
    if (!moved) {
      fail();
      return false;
    }
  }
}
template <class T> T shuffle(T value, int lane, int width, int line) {
  slots[current] = (double)value;
  wait(AT_WARP, line);  // every lane has offered
  const T got = (T)slots[current / width * width + lane];
  wait(AT_WARP, -line);  // every lane has read
  return got;
}
template <class... A, std::size_t... I>
const char *launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads,
                   void **arguments, std::index_sequence<I...>) {
  static std::tuple<std::remove_cv_t<A>...> values;
  static void (*function)(A...);
  function = kernel;
  values = std::tuple<std::remove_cv_t<A>...>(*(std::remove_cv_t<A> *)arguments[I]...);
  body = [] { std::apply(function, values); };
  grid_dim = {x, y, 1};
  block_dim = {threads, 1, 1};
  for (block.y = 0; block.y < y; ++block.y)
    for (block.x = 0; block.x < x; ++block.x)
      if (!run_block(threads)) return failure;
  return nullptr;
}
template <class... A>
const char *launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads,
                   void **arguments) {
  return launch(kernel, x, y, threads, arguments, std::index_sequence_for<A...>());
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
#define __syncthreads() host::wait(host::AT_BLOCK, __LINE__)
#define __syncwarp() host::wait(host::AT_WARP, __LINE__)
#define __shfl_sync(mask, value, lane, width) host::shuffle(value, lane, width, __LINE__)
