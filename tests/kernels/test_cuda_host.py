"""The shim that runs CUDA sources on the CPU: it must not let pass what would hang on a card."""

from __future__ import annotations

import pytest
import torch
from cuda_host import HostModule, needs_gcc

KERNELS = """
extern "C" __global__ void sum_of_lanes(int *out, int leave) {
  const int i = (int)threadIdx.x;
  int total = 0;
  for (int k = 0; k < 8; ++k) total += __shfl_sync(0xffffffffu, i, k, 8);
  out[i] = total;
}
// Warps may shuffle at different times between two barriers of the block.
extern "C" __global__ void uneven_warps(int *out, int leave) {
  __shared__ int seen[96];
  const int i = (int)threadIdx.x;
  int value = i;
  for (int k = 0; k < i / 32; ++k) value = __shfl_sync(0xffffffffu, value + 1, i % 32, 32);
  seen[i] = value;
  __syncthreads();
  out[i] = seen[95 - i];
}
extern "C" __global__ void left_early(int *out, int leave) {
  const int i = (int)threadIdx.x;
  if (i >= leave) return;
  __syncthreads();
  out[i] = 1;
}
extern "C" __global__ void in_two_branches(int *out, int leave) {
  const int i = (int)threadIdx.x;
  if (i < leave) {
    out[i] = 1;
    __syncthreads();
  } else {
    out[i] = 2;
    __syncthreads();
  }
}
extern "C" __global__ void one_more(int *out, int leave) {
  const int i = (int)threadIdx.x;
  for (int k = 0; k < (i < leave ? 2 : 3); ++k) __syncthreads();
  out[i] = 1;
}
extern "C" __global__ void divergent_shuffle(int *out, int leave) {
  const int i = (int)threadIdx.x;
  out[i] = 0;
  if (i % 32 < leave) out[i] = __shfl_sync(0xffffffffu, i, 0, 32);
}
extern "C" __global__ void warp_for_block(int *out, int leave) {
  const int i = (int)threadIdx.x;
  if (i < leave) __syncwarp();
  else __syncthreads();
  out[i] = 1;
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    source = tmp_path_factory.mktemp("cuda") / "kernels.cu"
    source.write_text(KERNELS)
    return HostModule(source, ())


@needs_gcc
def test_barriers_and_shuffles_that_all_threads_reach(module):
    out = torch.zeros(96, dtype=torch.int32)
    module.launch("sum_of_lanes", (2, 3), 96, out, 0)
    assert out.tolist() == [sum(range(i // 8 * 8, i // 8 * 8 + 8)) for i in range(96)]
    module.launch("uneven_warps", (1, 1), 96, out, 0)
    assert out.tolist() == [(95 - i) + (95 - i) // 32 for i in range(96)]
    module.launch("left_early", (1, 1), 96, out, 96)


@needs_gcc
@pytest.mark.parametrize(
    "kernel", ["left_early", "in_two_branches", "one_more", "divergent_shuffle", "warp_for_block"]
)
@pytest.mark.parametrize("leave", [1, 31])
def test_barriers_that_some_threads_miss(module, kernel, leave):
    out = torch.zeros(64, dtype=torch.int32)
    with pytest.raises(AssertionError, match=rf"{kernel}: block \(0, 0\): thread \d+ waits"):
        module.launch(kernel, (1, 1), 64, out, leave)
    module.launch("sum_of_lanes", (1, 1), 64, out, 0)  # and the shim goes on
