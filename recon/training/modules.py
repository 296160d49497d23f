"""What a training step is, for MR and for CT."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

try:
    from pytorch_lightning import LightningModule
    from pytorch_lightning.callbacks import Timer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "training needs pytorch-lightning: pip install 'spinray[train]'", name=error.name
    ) from error

from ...datasets import CTExample, MRExample, SliceDataset, report, split_findings
from ...datasets.mr_slices import compared_part
from ...datasets.reports import crimes_in_words, subject_keys
from ..models import (
    FBPUNet,
    ItNet,
    LearnedPrimalDual,
    MoDL,
    Network,
    PromptVarNet,
    VarNet,
)
from ..models.weights import KEY, check_state, header_of, load_model, save_model
from ..operators import Sense, XRayTransform
from .facts import Facts
from .losses import nmse, psnr, ssim, training_loss
from .self_supervision import equivariance_loss, ssdu_loss

STEERING = 20  # times the learning rate: logarithms have to move by tenths, kernels by hundredths
VOLUMES = 20  # of either side of a split, whose images are compared


class Training(LightningModule):
    """A network and its optimiser: AdamW, warmed up, then down a cosine.

    Checkpoints hold what `load_model` needs, and the state of torch's random numbers.

    Parameters
    ----------
    model
        The network to train.
    weights
        File of weights to start from, of the same architecture: fine-tuning. Default: random.
    learning_rate, weight_decay
        Of AdamW. Parameters that the network calls `steering` learn 20 times as fast, and do not
        decay.
    warmup
        Steps over which the learning rate rises.
    checkpointing
        Recompute stages in the backward pass: less memory, more time.
    """

    modality: str

    def __init__(
        self,
        model: Network,
        *,
        weights: str = "",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: int = 100,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        model.checkpointing = checkpointing
        self.facts = Facts(self.modality)
        if weights:
            self.start_from(model, weights)
        self._random: Tensor | None = None

    def start_from(self, network: Network, path: str) -> None:
        """Give a network the weights of a file; whom they were trained on is kept in mind."""
        start = load_model(path)
        check_state(network.state_dict(), start.state_dict(), Path(path))
        network.load_state_dict(start.state_dict())
        self.facts.merge(start.training_facts)

    def configure_optimizers(self) -> Any:
        """AdamW with a schedule over the trainer's steps or time; without an end the rate stays."""
        others = dict(self.model.named_parameters())
        steering = [others.pop(name) for name in self.model.steering]
        groups: list[dict[str, Any]] = [{"params": list(others.values())}]
        if steering:
            rate = STEERING * self.learning_rate
            groups.append({"params": steering, "lr": rate, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, self.learning_rate, weight_decay=self.weight_decay)
        steps = max(1.0, float(self.trainer.estimated_stepping_batches))

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / max(1, self.warmup))
            over = min(1.0, max(step / steps, self._time_spent()))
            return rise * 0.5 * (1 + math.cos(math.pi * over))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _time_spent(self) -> float:
        """Part of the trainer's ``max_time`` that is over: the rate is down by then."""
        timers = [one for one in cast(Any, self.trainer).callbacks if isinstance(one, Timer)]
        spent = [(one.time_elapsed(), one.time_remaining()) for one in timers]
        return max([s / (s + left) for s, left in spent if left is not None and s > 0], default=0.0)

    def on_fit_start(self) -> None:
        """Look for data crimes and leaks; they are warned of, and kept with the weights."""
        if self.device.type == "cuda":  # else each convolution turns the weights round
            cast(Any, self.model).to(memory_format=torch.channels_last)
        data = getattr(self.trainer, "datamodule", None)
        train, val = getattr(data, "train", None), getattr(data, "val", None)
        if self.trainer.is_global_zero and isinstance(train, SliceDataset):
            findings = list(report(train).findings)
            if isinstance(val, SliceDataset):
                findings += split_findings(train, val, limit=VOLUMES)
            self.facts.see_data(subject_keys(train), findings)
            if findings:
                warnings.warn(crimes_in_words(findings, len(train.volumes)), stacklevel=2)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the network's header and the random state."""
        checkpoint[KEY] = header_of(self.model, self.facts.as_json())
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take both back."""
        self.facts.merge(checkpoint[KEY]["training"])
        self._random = checkpoint["random_state"]

    def on_train_start(self) -> None:
        """Go on with the random numbers of the checkpoint."""
        if self._random is not None:
            torch.set_rng_state(self._random)

    def on_fit_end(self) -> None:
        """Write ``network.safetensors`` beside the logs."""
        self.facts.gather()
        folder = self.trainer.log_dir  # asks all processes
        if self.trainer.is_global_zero and self.trainer.logger and folder:
            path = f"{folder}/network.safetensors"
            save_model(self.model, path, training=self.facts.as_json())


class ReconstructionTraining(Training):
    """Trains a network that makes images of measured data, against target images.

    The figures of the validation are means over slices; those of volumes, as published, come from
    ``spinray evaluate``.

    Parameters
    ----------
    loss
        A name of `training_loss`.
    options
        Of `Training`.
    """

    def __init__(self, model: Network, *, loss: str = "ssim", **options: Any) -> None:
        super().__init__(model, **options)
        self.loss = training_loss(loss)

    def reconstruct(self, batch: Any) -> Tensor:
        """Images ``(batch, y, x)``, shaped as the targets."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Loss of a batch."""
        image = self.reconstruct(batch)
        loss = self.loss(image, *_truth(batch))
        self.log("loss", loss, prog_bar=True, batch_size=len(image))
        return loss

    def validation_step(self, batch: Any, batch_index: int) -> Tensor:
        """Figures of a batch; the images go to the callbacks."""
        image = self.reconstruct(batch)
        target, maximum = _truth(batch)
        figures = {
            "val_loss": self.loss(image, target, maximum),
            "val_nmse": nmse(image, target),
            "val_psnr": psnr(image, target, maximum),
            "val_ssim": ssim(image, target, maximum),
        }
        self.log_dict(figures, batch_size=len(image), sync_dist=True)
        return image


def _truth(batch: Any) -> tuple[Tensor, Tensor]:
    """Target images of a batch and the maxima of their volumes."""
    if batch.target is None:
        raise ValueError(
            f"{batch.fname[0]} has no target image, as test data have none: train and validate on "
            'data with targets, or train with supervision="ssdu" and without validation'
        )
    return batch.target, batch.max_value


class MRTraining(ReconstructionTraining):
    """Trains a network of masked k-space (`VarNet`, `PromptVarNet`), or `MoDL` with maps.

    Batches are `datasets.MRExample`; `MoDL` needs a dataset that brings maps.

    Parameters
    ----------
    supervision
        "target": the loss compares with target images. "ssdu": with measured samples that the
        network did not see (weighted SSDU), without targets; for `MoDL` on Cartesian data.
    equivariance
        Weight of the equivariance loss, for `MoDL`; 0 leaves it out.
    denoiser
        File of `DRUNet` weights that the denoiser of `MoDL` starts from, such as
        `DenoiserTraining` writes.
    options
        Of `ReconstructionTraining`.
    """

    modality = "mri"

    def __init__(
        self,
        model: Network,
        *,
        supervision: Literal["target", "ssdu"] = "target",
        equivariance: float = 0.0,
        denoiser: str = "",
        **options: Any,
    ) -> None:
        if isinstance(model, LearnedPrimalDual | ItNet | FBPUNet):
            raise ValueError(f"{type(model).__name__} is a network of CT: CTTraining trains it")
        super().__init__(model, **options)
        if supervision not in ("target", "ssdu"):
            raise ValueError(f'supervision must be "target" or "ssdu", got {supervision!r}')
        if (supervision == "ssdu" or equivariance or denoiser) and not isinstance(model, MoDL):
            raise ValueError(
                f"ssdu, equivariance and denoiser are for MoDL, got {type(model).__name__}"
            )
        if denoiser:
            assert isinstance(model, MoDL)
            self.start_from(model.denoiser, denoiser)
        if not equivariance >= 0:
            raise ValueError(f"equivariance must be 0 or more, got {equivariance}")
        self.supervision, self.equivariance = supervision, equivariance

    def on_before_batch_transfer(self, batch: MRExample, dataloader_idx: int) -> MRExample:
        """Take note of a training batch before it goes to a card, which need not wait for that."""
        if self.trainer.training:
            self.facts.see_mr(batch)
        return batch

    def training_step(self, batch: MRExample, batch_index: int) -> Tensor:
        """Loss of a batch, with targets or without."""
        if self.supervision == "target" and not self.equivariance:
            return super().training_step(batch, batch_index)
        model, A = cast(MoDL, self.model), self._operator(batch)
        noise = cast(Tensor, batch.noise)  # one number for each example
        if self.supervision == "ssdu":
            if batch.mask is None or batch.maps is None:
                raise ValueError("ssdu needs Cartesian data with coil maps")
            loss, image = ssdu_loss(model, batch.maps, batch.kspace, batch.mask[:, 0], noise)
        else:
            image = model(A, batch.kspace, noise=noise)
            shown = compared_part(image.abs(), batch.crop_size)
            loss = self.loss(shown, *_truth(batch))
        if self.equivariance:
            loss = loss + self.equivariance * equivariance_loss(model, A, image, noise)
        self.log("loss", loss, prog_bar=True, batch_size=len(image))
        return loss

    def reconstruct(self, batch: MRExample) -> Tensor:
        """Magnitude images of the targets' size."""
        if isinstance(self.model, MoDL):
            image = self.model(self._operator(batch), batch.kspace, noise=batch.noise)
        elif batch.mask is None:
            raise ValueError(f"{type(self.model).__name__} needs Cartesian data; MoDL takes any")
        elif isinstance(self.model, VarNet):
            image = self.model(batch.kspace, batch.mask, batch.calibration)
        else:
            image = self.model(batch.kspace, batch.mask)
        return compared_part(image.abs(), batch.crop_size)

    def _operator(self, batch: MRExample) -> Sense:
        if batch.maps is None:
            raise ValueError('MoDL needs coil maps: give the dataset maps="espirit" or "true"')
        if batch.trajectory is not None:
            return Sense(batch.maps, trajectory=batch.trajectory[0])
        return Sense(batch.maps, mask=cast(Tensor, batch.mask)[:, 0])


class CTTraining(ReconstructionTraining):
    """Trains a network of an operator and line integrals.

    Batches are `datasets.CTExample`; the geometry is the dataset's.

    Parameters
    ----------
    view_steps
        One is drawn for each training step, the same on all processes: every so many-th view is
        kept, so that one network learns several numbers of views. Validation takes them in turn.
    """

    modality = "ct"

    def __init__(self, model: Network, *, view_steps: Sequence[int] = (1,), **options: Any) -> None:
        if isinstance(model, VarNet | PromptVarNet):
            raise ValueError(f"{type(model).__name__} is a network of MR: MRTraining trains it")
        super().__init__(model, **options)
        if not view_steps or min(view_steps) < 1:
            raise ValueError(f"view_steps must be 1 or more, got {view_steps}")
        self.view_steps = tuple(view_steps)
        self._operators: dict[tuple[str, int], XRayTransform] = {}

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Loss of a batch with a drawn number of views."""
        seed = cast(Any, self.trainer).datamodule.seed
        # of the step alone, so that a resumed run draws the same
        drawn = np.random.default_rng((seed, self.global_step)).integers(len(self.view_steps))
        self._step = self.view_steps[int(drawn)]
        return super().training_step(batch, batch_index)

    def validation_step(self, batch: Any, batch_index: int) -> Tensor:
        """Figures of a batch; the numbers of views take turns."""
        self._step = self.view_steps[batch_index % len(self.view_steps)]
        return super().validation_step(batch, batch_index)

    def reconstruct(self, batch: CTExample) -> Tensor:
        """Attenuation, 1/mm."""
        if batch.sinogram is None:
            raise ValueError("CT training needs line integrals, this dataset has images only")
        A = self._operator("train" if self.training else "val", self._step)
        sinogram = batch.sinogram[..., :: self._step, :].contiguous()
        if self.training:
            self.facts.see_ct(A, sinogram)
        return self.model(A, sinogram)

    def _operator(self, part: str, step: int) -> XRayTransform:
        """Built once for each dataset and step."""
        if (part, step) not in self._operators:
            dataset = getattr(cast(Any, self.trainer).datamodule, part)
            self._operators[part, step] = XRayTransform(dataset.geometry[::step], dataset.volume)
        return self._operators[part, step]
