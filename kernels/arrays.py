"""NumPy, torch and CuPy arrays in, the same kind out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_torch(x: Any) -> bool:
    """Tell whether `x` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def on_gpu(x: Any) -> bool:
    """Tell whether `x` is a torch CUDA tensor or a CuPy array."""
    if is_torch(x):
        return bool(x.is_cuda)
    return type(x).__module__.split(".")[0] == "cupy"


def to_numpy(name: str, x: Any) -> NDArray[Any]:
    """Return a host array as a C-contiguous, writable NumPy array, without a copy if it is one."""
    if is_torch(x):
        if x.device.type != "cpu":
            raise TypeError(f"{name} is on {x.device}, the plan on the CPU: move one of them")
        x = x.detach().resolve_conj().resolve_neg().contiguous().numpy()
    elif on_gpu(x):
        raise TypeError(
            f"{name} is a CuPy array, the plan is on the CPU: build it with device='cuda'"
        )
    x = np.asarray(x)
    if x.flags.c_contiguous and x.flags.writeable and x.dtype.isnative and x.flags.aligned:
        return x
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")


def require_no_gradient(name: str, x: Any) -> None:
    """Raise if autograd watches a tensor that goes to a kernel, which it cannot see into."""
    if is_torch(x) and x.requires_grad and sys.modules["torch"].is_grad_enabled():
        raise ValueError(
            f"{name} requires a gradient, which a kernel would lose: use spinray.XRayTransform, "
            f"or give {name}.detach()"
        )


def to_cuda(name: str, x: Any, device: Any) -> Any:
    """Return a CuPy array or CUDA tensor as a contiguous tensor, without a copy if it is one."""
    if not on_gpu(x):
        raise TypeError(f"{name} is on the CPU, the plan on {device}: move one of them")
    torch = sys.modules["torch"]
    tensor = x.detach() if is_torch(x) else torch.from_dlpack(x)
    if tensor.device != device:
        raise TypeError(f"{name} is on {tensor.device}, the plan on {device}: move one of them")
    return tensor.resolve_conj().resolve_neg().contiguous()


def like(result: Any, x: Any) -> Any:
    """Return a result (NumPy on the CPU, torch on the GPU) as the kind of array that `x` is."""
    if is_torch(x):
        return result if is_torch(result) else sys.modules["torch"].from_numpy(result)
    return sys.modules["cupy"].from_dlpack(result) if on_gpu(x) else result
