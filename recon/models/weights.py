"""Networks on disk: safetensors with a header that says how to make the network again."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..io.atomic import atomic
from ..io.errors import FormatError
from .network import Network

KEY = "spinray"  # of the header's entry
SHIPPED = Path(__file__).with_name("shipped")
HEADER: dict[str, type] = {"architecture": str, "hyperparameters": dict, "training": dict}
PICKLED = ".ckpt", ".pt", ".pth", ".bin"
State = dict[str, Tensor]


def save_model(
    model: Network,
    path: str | PathLike[str],
    *,
    training: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write weights and header: architecture, hyperparameters and facts of the training.

    Parameters
    ----------
    model
        Any `Network`.
    path
        File to write, ``.safetensors``.
    training
        What the network was trained on, of JSON's types. `reconstruct` warns for scans unlike it:
        ``modality`` ("mri" or "ct"), ranges ``[least, most]`` of ``coils``, ``matrix``,
        ``acceleration``, ``views``, ``pixel size`` (mm) and ``noise`` (of line integrals), and
        lists: ``masks``, kinds of `cartesian.mask_kind` or words of them such as "lines", and
        ``geometry``, names of classes. Default: the model's `training_facts`.
    half
        Write half precision: half the size. Networks are loaded in single precision all the same.

    Raises
    ------
    ValueError
        A path with another suffix.
    """
    from safetensors.torch import save

    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: weights are written as .safetensors")
    header = header_of(model, model.training_facts if training is None else training)
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if half:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    with atomic(target) as temporary:
        # save_file would make a file that its owner alone may read
        temporary.write_bytes(save(state, metadata={KEY: json.dumps(header)}))
    return target


def header_of(model: Network, training: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the network again, and what it was trained on."""
    return {
        "architecture": type(model).__name__,
        "hyperparameters": model.hyperparameters,
        "training": dict(training),
    }


def load_model(
    source: str | PathLike[str],
    *,
    architecture: str | None = None,
    allow_pickle: bool = False,
    **hyperparameters: Any,
) -> Network:
    """Make a trained network from a shipped name or a file, ready to apply.

    Parameters
    ----------
    source
        A name of `shipped_models()`; a ``.safetensors`` file written by `save_model`; or a torch
        checkpoint: a state dict or Lightning's, such as fastMRI's official weights.
    architecture
        Class of `spinray.models`, where the file does not say it. Default: the file's; `VarNet`
        and `UNet` are recognised by their weights.
    allow_pickle
        Load a checkpoint that runs code of its own when it is opened: only from a source that you
        trust. Without it, torch's safe loader takes tensors and plain values alone.
    hyperparameters
        Arguments of the class, where the file does not say them.

    Returns
    -------
    Network
        On the CPU, in evaluation mode; `training_facts` as the file says.

    Raises
    ------
    FileNotFoundError
        Neither a shipped name nor a file.
    FormatError
        A broken file.
    ValueError
        Weights of another architecture (the first key that differs is named), an unknown
        architecture, or a checkpoint that needs code to be run.
    """
    path = find_weights(source)
    header: dict[str, Any] = {}
    if path.suffix in PICKLED:
        state, header = _read_checkpoint(path, allow_pickle)
        if _recognise(state)[0] is None and _recognise(_unprefixed(state))[0]:
            state = _unprefixed(state)
    else:
        state, header = _read_safetensors(path)
    recognised, shapes = _recognise(state)
    name = architecture or header.get("architecture") or recognised
    if name is None:
        raise ValueError(
            f"{path}: does not say its architecture: spinray.load_model(path, architecture=..., "
            "hyperparameters) in Python takes one of "
            f"{', '.join(sorted(architectures()))}, and save_model writes a file that says it"
        )
    if name not in architectures():
        raise ValueError(
            f"{path}: unknown architecture {name!r}, expected one of "
            f"{', '.join(sorted(architectures()))}"
        )
    told = header.get("hyperparameters", shapes if name == recognised else {})
    try:
        model = architectures()[name](**{**told, **hyperparameters})
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {name} cannot be made of its hyperparameters: {error}") from None
    if path.suffix in PICKLED and model.state_dict().keys() == _unprefixed(state).keys():
        state = _unprefixed(state)
    check_state(model.state_dict(), state, path)
    model.load_state_dict(state)
    model.training_facts = header.get("training", {})
    return model.eval()


def shipped_models() -> tuple[str, ...]:
    """Names of the networks that came with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))


def architectures() -> dict[str, type[Network]]:
    """Classes by name."""
    from .. import models

    classes = {name: getattr(models, name) for name in models.__all__}
    return {
        name: kind
        for name, kind in classes.items()
        if isinstance(kind, type) and issubclass(kind, Network) and kind is not Network
    }


def check_state(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raise a `ValueError` that names the first key in which a file's weights differ."""
    for name, tensor in expected.items():
        if name not in found:
            strange = next((key for key in found if key not in expected), "")
            instead = f", {strange} is not expected" if strange else ""
            raise ValueError(f"{path}: weights of another architecture: {name} is missing{instead}")
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: weights of another architecture: {name} has shape "
                f"{tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
            )
    for name in found:
        if name not in expected:
            raise ValueError(f"{path}: weights of another architecture: {name} is not expected")


def find_weights(source: str | PathLike[str]) -> Path:
    """File of a shipped name or a path; a `FileNotFoundError` where it is neither."""
    shipped = SHIPPED / f"{source}.safetensors"
    if isinstance(source, str) and shipped.exists() and shipped.parent == SHIPPED:
        return shipped
    path = Path(source)
    if not path.is_file():
        names = ", ".join(shipped_models()) or "none yet"
        raise FileNotFoundError(f"{source}: no such file, nor a shipped network ({names})")
    return path


def _read_safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise FormatError(path, "", f"is no safetensors file of a network: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(path, KEY, "header is no JSON object")
    for name, kind in HEADER.items():
        if not isinstance(header.get(name, kind()), kind):
            raise FormatError(path, KEY, f"{name} is {header[name]!r}, expected a {kind.__name__}")
    return state, header


def _read_checkpoint(path: Path, allow_pickle: bool) -> tuple[State, dict[str, Any]]:
    content = read_checkpoint(path, allow_pickle)
    header = content.get(KEY, {}) if isinstance(content, dict) else {}
    nested = isinstance(content, dict) and "state_dict" in content
    state = content["state_dict"] if nested else content
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise FormatError(path, "", "holds no state dict of tensors")
    return (_unprefixed(state) if nested else dict(state)), header


def read_checkpoint(path: Path, allow_pickle: bool = False) -> Any:
    """What torch saved: tensors and plain values alone, unless code may be run.

    Raises
    ------
    FormatError
        No torch checkpoint, or a truncated one.
    ValueError
        A checkpoint that needs code to be run.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:
        if allow_pickle or not _is_pickle(path):
            raise FormatError(path, "", "is no torch checkpoint") from error
        raise ValueError(
            f"{path}: this checkpoint runs code when it is opened; if you trust its source, "
            "spinray.load_model(path, allow_pickle=True) loads it in Python, and save_model writes "
            "it without code"
        ) from None
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        raise FormatError(
            path, "", f"is no torch checkpoint, or a truncated one: {error}"
        ) from error


def _is_pickle(path: Path) -> bool:
    """Whether a file is of torch's zip format, or begins as pickles do."""
    with path.open("rb") as file:
        start = file.read(2)
    return zipfile.is_zipfile(path) or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5")


def _unprefixed(state: State) -> State:
    """Without what Lightning puts before every key, the module's attribute, and losses beside."""
    for prefix in ("model.", "varnet.", "unet.", "module."):
        inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if inner:
            return inner
    return dict(state)


def _recognise(state: State) -> tuple[str | None, dict[str, Any]]:
    """Name and hyperparameters of fastMRI's networks, read from the shapes of their weights."""
    if "cascades.0.dc_weight" in state and any(k.startswith("sens_net.norm") for k in state):
        unet = _unet_of(state, "cascades.0.model.unet.")
        sens = _unet_of(state, "sens_net.norm_unet.unet.")
        if unet and sens:
            return "VarNet", {
                "num_cascades": _count(state, "cascades."),
                "chans": unet["chans"],
                "pools": unet["num_pool_layers"],
                "sens_chans": sens["chans"],
                "sens_pools": sens["num_pool_layers"],
            }
    unet = _unet_of(state, "")
    return ("UNet", unet) if unet else (None, {})


def _unet_of(state: State, prefix: str) -> dict[str, int]:
    first = state.get(f"{prefix}down_sample_layers.0.layers.0.weight")
    pools = _count(state, f"{prefix}down_sample_layers.")
    last = state.get(f"{prefix}up_conv.{pools - 1}.1.weight")
    if first is None or last is None:
        return {}
    return {
        "in_chans": first.shape[1],
        "out_chans": last.shape[0],
        "chans": first.shape[0],
        "num_pool_layers": pools,
    }


def _count(state: State, prefix: str) -> int:
    """How many children ``prefix0.``, ``prefix1.``, ... there are."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return len({m.group(1) for k in state if (m := pattern.match(k))})
