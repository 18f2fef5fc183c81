"""Stored bytes of a training batch to what the network sees, every image varied by draws of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.data.augment import coloring, hiding, mixing, moving, trivial, warping
from convscope.data.augment.config import AugmentConfig
from convscope.data.augment.draws import Purpose, between, key_of, uniform, whole
from convscope.data.preprocess import Preprocess

_PURPOSES = {  # what a setting that is on draws for
    "flip": [Purpose.FLIP],
    "shift": [Purpose.SHIFT_DOWN, Purpose.SHIFT_RIGHT],
    "cutout": [Purpose.CUTOUT_DOWN, Purpose.CUTOUT_RIGHT],
    "crop": [Purpose.CROP_AREA, Purpose.CROP_ASPECT, Purpose.CROP_DOWN, Purpose.CROP_RIGHT],
    "rotate": [Purpose.ANGLE],
    "brightness": [Purpose.BRIGHTNESS],
    "contrast": [Purpose.CONTRAST],
    "saturation": [Purpose.SATURATION],
    "erase": [Purpose.ERASE, Purpose.ERASE_AREA, Purpose.ERASE_ASPECT, Purpose.ERASE_DOWN, Purpose.ERASE_RIGHT],
    "trivial": [Purpose.TRIVIAL, Purpose.TRIVIAL_STRENGTH, Purpose.TRIVIAL_SIGN],
}
_COLORS = {"brightness": coloring.brighten, "contrast": coloring.contrast, "saturation": coloring.saturate}


class Augment:
    """Augmentation and preprocessing of a whole batch on its device, with no loop over images and no waiting for it.

    Flip and shift move stored bytes; crop and rotation look each pixel of the network up in them; colours come next
    (brightness, contrast, saturation, in this order), then TrivialAugment, ``Preprocess``, hidden boxes, and mixing.
    What is off costs nothing.

    An image's draws depend on the seed, the epoch and its ``index`` alone. However a batch is cut into shares, and
    wherever a run was resumed, an image is varied in the same way. Only mixing, which needs a partner, finds it in the
    share at hand: the image before it.

    Args:
        config: What to do.
        preprocess: From bytes to floats, as in evaluation. Hidden boxes are filled with what it maps to zero: the mean
            of the data, or black where it does not normalise.
        seed: Not negative, however large.

    Raises:
        ValueError: ``seed`` is negative.
        ModuleNotFoundError: TrivialAugment is on and kornia is not installed.

    Example:
        >>> mirror = Augment(AugmentConfig(flip="alternate"), Preprocess((1, 2), (0.0,), (1.0,)), seed=0)
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
        >>> one = torch.tensor([0])
        >>> for epoch in range(3):
        ...     x, _ = mirror(images, one, one, epoch=epoch, batch=0, classes=1)
        ...     x.flatten().tolist()
        [1.0, 0.0]
        [0.0, 1.0]
        [1.0, 0.0]
    """

    def __init__(self, config: AugmentConfig, preprocess: Preprocess, *, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        if config.trivial:
            trivial.operations()  # fails here, not in the middle of a run
        self.config = config
        self.preprocess = preprocess
        self.seed = seed
        off = AugmentConfig()
        used = [max(purposes) for name, purposes in _PURPOSES.items() if getattr(config, name) != getattr(off, name)]
        self._rows = max(used, default=-1) + 1  # of the table of draws

    def __call__(
        self, images: Tensor, labels: Tensor, index: Tensor, *, epoch: int, batch: int, classes: int
    ) -> tuple[Tensor, Tensor]:
        """Vary a batch and make it ready for a network.

        Args:
            images: ``(N, C, h, w)`` uint8 on any device; never changed.
            labels: ``(N,)`` int64 on the same device.
            index: ``(N,)`` int64 on the same device: which image of the split each one is. Equal numbers are varied
                alike, so an image that comes twice in an epoch should come under two numbers.
            epoch: From 0.
            batch: Position in the epoch, from 0; decides how the images are mixed, and nothing else.
            classes: How many there are.

        Returns:
            ``(N, C, H, W)`` float32; and the labels as they came, or, with mixup or cutmix on, as probabilities
            ``(N, classes)`` float32.

        Raises:
            ValueError: Shapes or dtypes that do not fit, or a shift as large as the images.
        """
        if not self.config.active:
            return self.preprocess(images), labels
        self._check(images, labels, index, epoch=epoch, batch=batch)
        draws = uniform(key_of("augment", self.seed, epoch), index, self._rows)  # K,N
        moved = self._move(images, draws, index, epoch)
        x = self.preprocess(self._color(self._warp(moved, draws), draws))  # N,C,h,w uint8 -> N,C,H,W
        self._hide(x, draws)
        if not self.config.mixes:
            return x, labels
        size = self.preprocess.image_size
        mix = mixing.draw_mix(self.config, key_of("mix", self.seed, epoch, batch), size=size)
        return mixing.blend(x, mix), mixing.probabilities(labels, classes, mix.own)

    def _check(self, images: Tensor, labels: Tensor, index: Tensor, *, epoch: int, batch: int) -> None:
        """Refuse what would be varied wrongly; values are not looked at, because they would have to be waited for."""
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"expected uint8 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        for name, numbers in (("labels", labels), ("index", index)):
            if numbers.dtype != torch.int64 or numbers.shape != images.shape[:1]:
                raise ValueError(
                    f"expected {name} ({len(images)},) int64, one per image, got {numbers.dtype} {tuple(numbers.shape)}"
                )
        if min(epoch, batch) < 0:
            raise ValueError(f"epoch and batch must not be negative, got {epoch} and {batch}")
        smallest = min(images.shape[2:])
        if self.config.shift >= smallest:
            raise ValueError(f"--shift must be below the images' smaller side of {smallest}, got {self.config.shift}")

    def _move(self, images: Tensor, draws: Tensor, index: Tensor, epoch: int) -> Tensor:
        """Flip and shift bytes."""
        config, down, right, mirrored = self.config, None, None, None
        if config.flip == "random":
            mirrored = draws[Purpose.FLIP] < 0.5
        elif config.flip == "alternate":  # as random in the first epoch, then the other way round each time
            first = draws if epoch == 0 else uniform(key_of("augment", self.seed, 0), index, 1)
            mirrored = (first[Purpose.FLIP] < 0.5) ^ bool(epoch % 2)
        if config.shift:
            steps = whole(draws[Purpose.SHIFT_DOWN : Purpose.SHIFT_RIGHT + 1], 2 * config.shift + 1) - config.shift
            down, right = steps
        return moving.move(images, down=down, right=right, mirrored=mirrored)

    def _warp(self, images: Tensor, draws: Tensor) -> Tensor:
        """Turn and crop, straight to the network's size."""
        config, crop, angle = self.config, None, None
        if config.crop < 1:
            area, aspect, down, right = draws[Purpose.CROP_AREA : Purpose.CROP_RIGHT + 1]
            image = (images.shape[2], images.shape[3])
            crop = warping.crops(between(area, config.crop, 1), aspect, down, right, image=image)
        if config.rotate:
            angle = between(draws[Purpose.ANGLE], -config.rotate, config.rotate)
        if crop is None and angle is None:
            return images
        return warping.warp(images, self.preprocess.image_size, crop=crop, angle=angle)

    def _color(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change colours, by strengths of our own or by TrivialAugment."""
        strengths = {name: getattr(self.config, name) for name in _COLORS if getattr(self.config, name)}
        if not strengths and not self.config.trivial:
            return images
        x = images.float() if images.dtype == torch.uint8 else images
        for name, strength in strengths.items():
            x = _COLORS[name](x, between(draws[_PURPOSES[name][0]], 1 - strength, 1 + strength))
        if self.config.trivial:
            x = trivial.trivial(x, *draws[Purpose.TRIVIAL : Purpose.TRIVIAL_SIGN + 1])
        return x

    def _hide(self, x: Tensor, draws: Tensor) -> None:
        """Fill boxes with zero, the mean of the data, in place."""
        config, size, hidden = self.config, self.preprocess.image_size, None
        if config.erase:
            happens, *box = draws[Purpose.ERASE : Purpose.ERASE_RIGHT + 1]
            hidden = hiding.erased(happens < config.erase, *box, size=size)
        if config.cutout:
            square = hiding.cut_out(config.cutout, *draws[Purpose.CUTOUT_DOWN : Purpose.CUTOUT_RIGHT + 1], size=size)
            hidden = square if hidden is None else hidden | square
        if hidden is not None:
            x.masked_fill_(hidden, 0)
