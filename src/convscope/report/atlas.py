"""Every figure that shows how a network behaves and what is inside it, drawn one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from convscope import measure
from convscope.data import Dataset, ImageSet, Preprocess
from convscope.measure.undisturbed import device_of
from convscope.report.allowance import LEAST, SAMPLES, Allowance
from convscope.report.figures import behaviour, inside, layers, overlays, reliability
from convscope.report.wording import percent, plural

LAYERS = 14  # of a deep network that have a row in a figure
IMAGES = 9  # that have a picture in a figure
PROBED = 1000  # training images that probes learn from
PIXELS = 1 << 20  # numbers in a batch of inputs whose feature maps are all kept
NUMBERS = 1 << 22  # in any other batch of inputs
LEAST_PROBED = 40  # training images that a probe can learn anything from

OVERLAPPING, SEPARATE = 100, 26  # forward passes for covering an image place by place, half a square apart or a whole
CHANGES = 10  # forward passes for an image and all its changes
BACKWARD = 3  # forward passes that a gradient costs
MOVED = 50  # images whose feature maps are compared with those of the image moved


@dataclass(frozen=True, eq=False)
class Plate:
    """One figure.

    Args:
        name: Of its file, without the ending.
        shows: One sentence, with the number that matters.
        figure: 3.9 inches wide.
        numbers: What it was drawn from, as plain values, where that is short.
    """

    name: str
    shows: str
    figure: Figure
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Atlas:
    """What is looked at, and how closely.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used on its device, and left as it was.
        dataset: Test images are what shares and means are taken over; probes learn from training images.
        preprocess: What the model was trained with.
        images: ``(N, C, h, w)`` uint8, whose insides are shown; the first nine count.
        layer: For patches and Grad-CAM; None takes the last convolution.
        samples: Test images that shares and means are taken over; None takes as many as an ``Allowance`` gives.
        max_shift: In pixels of the network's input.
        batch_size: Images at a time.

    Raises:
        ValueError: There are no images, the model has no convolution, or a number is out of range.
    """

    model: nn.Module
    dataset: Dataset
    preprocess: Preprocess
    images: Tensor
    layer: str | None = None
    samples: int | None = None
    max_shift: int = 3
    batch_size: int = 250

    def __post_init__(self) -> None:
        if not len(self.images):
            raise ValueError("there is nothing to look at: expected at least one image, got none")
        if self.samples is not None and self.samples < 2:
            raise ValueError(f"--samples must be at least 2, got {self.samples}")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, got {self.batch_size}")
        side = min(self.preprocess.image_size)
        if not 1 <= self.max_shift < side:
            raise ValueError(f"--max-shift must be 1 to {side - 1} pixels, got {self.max_shift}")
        measure.filters(self.model)  # raises, with a sentence
        measure.grad_cam(self.model, self._inputs[:1], self.layer)  # and so for a layer that gives no maps

    @property
    def steps(self) -> dict[str, Callable[[], Iterator[Plate]]]:
        """What is drawn, in an order that a reader can follow; each is called with nothing and yields its plates."""
        return {
            "reliability": self._reliability,
            "filters": self._filters,
            "activations": self._activations,
            "top patches": self._patches,
            "evidence": self._evidence,
            "occlusion": self._occlusion,
            "shifts": self._shifts,
            "sensitivity": self._changes,
            "equivariance": self._equivariance,
            "border": self._border,
            "probes": self._probes,
        }

    @cached_property
    def allowance(self) -> Allowance:
        """How many images can be afforded."""
        cost = measure.summary(self.model, tuple(self._inputs.shape[1:]), training=False).total.macs
        accelerated = device_of(self.model).type != "cpu"
        return Allowance(max(1, cost), len(self.dataset.test), self.max_shift, self.samples, accelerated)

    def _test(self, passes: int) -> ImageSet:
        """Test images, spread over all of them; fewer of them the more passes each needs."""
        return _spread(self.dataset.test, self.allowance.tests(passes))

    @property
    def _at_once(self) -> int:
        """Images in a batch: as many as were asked for, while large ones fit into memory."""
        return max(1, min(self.batch_size, NUMBERS // self._inputs[0].numel()))

    @cached_property
    def _shown(self) -> Tensor:
        """The first images as bytes at the size that the network sees."""
        return self._seen(self.images[:IMAGES])

    @cached_property
    def _inputs(self) -> Tensor:
        """The same as the network sees them."""
        return self.preprocess(self.images[:IMAGES])

    @cached_property
    def _layers(self) -> list[str]:
        """Leaves that run and give tensors; of many, some at equal distances, the first and the last among them."""
        ran = [name for name in measure.activations(self.model, self._inputs[:1]) if "#" not in name]
        places = torch.linspace(0, len(ran) - 1, min(LAYERS, len(ran))).round().long()
        return [ran[i] for i in places.tolist()]

    @property
    def _few(self) -> int:
        """Images at a time where the feature maps of many layers are kept."""
        return max(1, min(self.batch_size, PIXELS // self._inputs[0].numel() // len(self._layers) + 1))

    def _seen(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.preprocess.mean, self.preprocess.std))
        return (255 * (self.preprocess(images) * std + mean)).round().clamp(0, 255).to(torch.uint8)

    def _reliability(self) -> Iterator[Plate]:
        most = self.allowance.images(1, len(self.dataset.test), least=max(LEAST, self.samples or 0), share=4)
        images = _spread(self.dataset.test, most)
        device = device_of(self.model)
        result = measure.evaluate(self.model, images, self.preprocess, batch_size=self._at_once, device=device)
        found = result.calibration()
        shows = (
            f"of {plural(len(result), 'test image')} {percent(result.accuracy)} are called right, with an expected "
            f"calibration error of {100 * found.expected_error:.1f} points"
        )
        yield Plate("reliability", shows, reliability.reliability(found), found.to_dict())

    def _filters(self) -> Iterator[Plate]:
        weights = measure.filters(self.model)
        ends = {"filters-first": next(iter(weights)), "filters-last": next(reversed(weights))}
        for name, layer in ends.items():
            if name == "filters-last" and len(weights) == 1:
                return
            shape = "x".join(map(str, weights[layer].shape[1:]))
            shows = f"the weights of {layer}: {plural(len(weights[layer]), 'filter')} of {shape}"
            yield Plate(name, shows, inside.filter_sheet(weights[layer], layer=layer))

    def _activations(self) -> Iterator[Plate]:
        answers = measure.activations(self.model, self._inputs[:1], self._layers)
        figure = inside.activation_sheet(self.images[0], {layer: value[0] for layer, value in answers.items()})
        yield Plate("activations", f"what {plural(len(answers), 'layer')} answer to the first image", figure)

    def _patches(self) -> Iterator[Plate]:
        images = self._test(1).images
        found = measure.top_patches(self.model, images, self.preprocess, self.layer, most=8, batch_size=self._at_once)
        shows = f"what channels of {found.layer} answer most to, in {plural(len(images), 'test image')}"
        yield Plate("top-patches", shows, inside.patch_sheet(found, self._seen(images)))

    def _evidence(self) -> Iterator[Plate]:
        classes = self.dataset.classes
        cam = measure.grad_cam(self.model, self._inputs, self.layer)
        shows = f"where the features of {cam.layer} speak for the class that was named (Grad-CAM)"
        yield Plate("grad-cam", shows, overlays.grad_cam_overlay(self._shown, cam, classes))
        gradients = measure.input_gradients(self.model, self._inputs, cam.targets)
        shows = "which pixels raise (blue) and lower (vermilion) the score of the class that was named"
        yield Plate("input-gradients", shows, overlays.gradient_map(self._shown, gradients, cam.targets, classes))

    def _occlusion(self) -> Iterator[Plate]:
        height, width = self.preprocess.image_size
        side = max(1, round(min(height, width) / 5))
        shown = min(IMAGES, len(self.images))
        overlap = self.allowance.images(OVERLAPPING, shown, least=0) == shown
        images = self.images[: shown if overlap else self.allowance.images(SEPARATE, shown, least=2)]
        found = measure.occlusion(
            self.model, images, self.preprocess, side=side, stride=None if overlap else side, batch_size=self._at_once
        )
        most = float(found.drop.amax())
        shows = (
            f"what covering {found.side}x{found.side} pixels takes from the class; {percent(max(0.0, most))} at most"
        )
        if len(images) < shown:
            shows += f" (the first {len(images)} of {plural(shown, 'image')}: the network costs much)"
        yield Plate("occlusion", shows, overlays.occlusion_map(self._shown[: len(images)], found, self.dataset.classes))

    def _shifts(self) -> Iterator[Plate]:
        step, passes = self.allowance.step, self.allowance.passes
        images = self._test(passes).images
        for mode in ("circular", "zero"):
            found = measure.shift_consistency(
                self.model, images, self.preprocess, self.max_shift, mode, step=step, batch_size=self._at_once
            )
            tried = f"all {mode} shifts of up to" if step == 1 else f"{passes - 1} {mode} shifts by"
            shows = f"{found.unchanged} of {plural(len(images), 'test image')} keep their class through {tried} "
            shows += plural(self.max_shift, "pixel")
            yield Plate(f"shift-{mode}", shows, behaviour.shift_table(found), found.to_dict())

    def _changes(self) -> Iterator[Plate]:
        images = self._test(CHANGES)
        found = measure.sensitivity(
            self.model, images.images, self.preprocess, labels=images.labels, batch_size=self._at_once
        )
        shows = f"classes of {plural(len(images), 'test image')} after changes; {found[0].unchanged} stay when black "
        shows += "and white are swapped"
        yield Plate("sensitivity", shows, behaviour.responses(found), {"changes": [each.to_dict() for each in found]})

    def _equivariance(self) -> Iterator[Plate]:
        x = self.preprocess(self._test(2 * self.max_shift + 1).images[:MOVED])
        found = measure.equivariance_error(self.model, x, self._layers, max_shift=self.max_shift, batch_size=self._few)
        numbers = {row.layer: row.error.to_dict() for row in found}
        shows = f"how far each layer is from moving along with {plural(len(x), 'test image')} (0: exactly)"
        yield Plate("equivariance", shows, behaviour.equivariance(found), numbers)

    def _border(self) -> Iterator[Plate]:
        images = self._test(BACKWARD).images
        found = measure.border_effect(self.model, self.preprocess(images), batch_size=min(self._at_once, 50))
        depth = 4
        paths = measure.ring_means(torch.tensor(measure.path_counts(*self.preprocess.image_size, depth)).double())
        shows = f"what pixels of {plural(len(images), 'test image')} weigh; those at the border "
        shows += f"{found.rings[0].value:.2f} of the mean"
        figure = behaviour.border_map(found, paths=paths, depth=depth)
        yield Plate("border", shows, figure, {"rings": [ring.to_dict() for ring in found.rings]})

    def _probes(self) -> Iterator[Plate]:
        asked = SAMPLES if self.samples is None else self.samples
        most = PROBED if self.samples is not None else self.allowance.images(1, PROBED, least=LEAST_PROBED)
        train = _spread(self.dataset.train, min(most, 5 * asked))
        test = self.dataset.test
        test = test if len(test) <= most else _spread(test, min(most, asked))
        found = measure.linear_probes(self.model, train, test, self.preprocess, self._layers, batch_size=self._few)
        best = max(found[1:], key=lambda probe: probe.accuracy.value)
        shows = f"what a linear classifier reads off each layer: {percent(found[0].accuracy.value)} off the pixels, "
        shows += f"{percent(best.accuracy.value)} off {best.layer}; learned from {plural(len(train), 'image')}, "
        shows += f"judged by {len(test):,}"
        numbers = {"probes": [probe.to_dict() for probe in found]}
        yield Plate("probes", shows, layers.probes_by_layer(found), numbers)


def _spread(images: ImageSet, most: int) -> ImageSet:
    """At most so many images, at equal distances: neighbours in a folder are often alike."""
    return images.take(torch.linspace(0, len(images) - 1, min(most, len(images))).round().long())


def sample(dataset: Dataset, count: int) -> Tensor:
    """Test images to look at when nobody named any: ``(N, C, h, w)``, of different classes as far as there are."""
    test = dataset.test
    picked: list[int] = []
    by_class: Sequence[list[int]] = [
        (test.labels == label).nonzero().squeeze(1).tolist() for label in range(len(test.classes))
    ]
    for place in range(max(map(len, by_class))):
        picked += [where[place] for where in by_class if place < len(where)]
        if len(picked) >= count:
            break
    return test.images[torch.tensor(picked[:count])]
