"""Checks that settings, images and network fit each other, and puts together what a loop works with."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from convscope.data import Dataset, ImageSet, Loader, Preprocess, fingerprint, hold_out
from convscope.data.augment import Augment
from convscope.train.average import WeightAverage
from convscope.train.balance import class_weights
from convscope.train.config import TrainConfig
from convscope.train.distributed import World
from convscope.train.events import Event, Noted
from convscope.train.finetune import head_of
from convscope.train.generators import seed_generators
from convscope.train.objective import Classification, Objective
from convscope.train.optim import build_optimizer
from convscope.train.parts import Parts
from convscope.train.plan import Plan, choose_plan, find_device
from convscope.train.shaped import give_shapes

EVALUATION_BATCH = 500  # images; nothing is kept for a gradient, so it may exceed the training batch


def assemble(
    config: TrainConfig,
    model: nn.Module,
    dataset: Dataset,
    *,
    objective: Objective | None,
    world: World,
    emit: Callable[[Event], None],
    resumed: Plan | None = None,
) -> Parts:
    """Everything that a loop works with, checked; nothing is written yet.

    Args:
        config: The settings.
        model: Is moved to the device.
        dataset: What to learn from and to be judged by.
        objective: The task; None is classification with the config's smoothing and class weights.
        world: The processes that train together.
        emit: Hears every event.
        resumed: How the run executed so far; it goes on in the same way.

    Raises:
        ValueError: Settings, images and model do not fit each other.
    """
    with world.together():
        device = _device_of(config, world, resumed)
        learn, held, test = _splits(config, dataset)
        _check_batches(config, len(learn), world)
        preprocess = preprocess_for(dataset, config)
        train = _learning(config, learn, preprocess, device=device, world=world)
        objective = objective or _classification(config, learn, device)
        with _norms_watched(model) as lonely:
            head = _check_network(config, model, objective, dataset, preprocess, device=device, world=world)
        if any(lonely):
            _check_batches(config, len(learn), world, least=2)
        plan = _plan_for(config, model, objective, train, world, resumed)
    if config.execution.compile and not plan.compiled:
        emit(Noted(f"--compile was asked for and not done: {plan.reason}"))
    plan.settle()
    forward = plan.prepare(model)
    world.spread(value for value in model.state_dict().values() if not is_lazy(value))
    if world.rank:  # each process drops out other units
        seed_generators(config.seed ^ (world.rank << 40))

    tested = _judging(config, test, preprocess, device=device, world=world)
    return Parts(
        config=config,
        plan=plan,
        world=world,
        model=model,
        forward=forward,
        objective=objective,
        optimizer=build_optimizer(model, config.optimizer),
        average=WeightAverage(model, config.optimizer.ema) if config.optimizer.ema else None,
        head=head,
        train=train,
        held=tested if held is test else _judging(config, held, preprocess, device=device, world=world),
        test=tested,
        emit=emit,
    )


def preprocess_for(dataset: Dataset, config: TrainConfig) -> Preprocess:
    """From these images to what the network sees."""
    return Preprocess.of(dataset, image_size=config.image_size, normalize=config.normalize)


def see_shapes(model: nn.Module, dataset: Dataset, config: TrainConfig) -> None:
    """Show two images to a network that still has lazy layers, which draw their weights now."""
    if any(is_lazy(p) for p in model.parameters()):
        device = next(p.device for p in model.parameters())
        give_shapes(model, preprocess_for(dataset, config)(dataset.test.images[:2].to(device)))


def describe(model: nn.Module, dataset: Dataset, config: TrainConfig) -> dict[str, Any]:
    """What ``config.json`` says: network, images, preprocessing and every setting."""
    return {
        "model": _describe_model(model),
        "data": _describe_data(dataset),
        "input": preprocess_for(dataset, config).to_dict(),
        "train": config.to_dict(),
    }


def _splits(config: TrainConfig, dataset: Dataset) -> tuple[ImageSet, ImageSet, ImageSet]:
    """To learn from, to measure each epoch on, and to measure the final weights on."""
    if not config.val_fraction:
        return dataset.train, dataset.test, dataset.test
    learn, held = hold_out(dataset.train, config.val_fraction, config.seed)
    return learn, held, dataset.test


def _learning(
    config: TrainConfig, images: ImageSet, preprocess: Preprocess, *, device: torch.device, world: World
) -> Loader:
    """Training batches, of which each process gets its share."""
    return Loader(
        images,
        preprocess,
        batch_size=config.batch_size * world.size,
        device=device,
        shuffle_seed=config.seed,
        balanced=config.sampling == "balanced",
        augment=Augment(config.augment, preprocess, seed=config.seed) if config.augment.active else None,
        share=world.share,
    )


def _judging(
    config: TrainConfig, images: ImageSet, preprocess: Preprocess, *, device: torch.device, world: World
) -> Loader:
    """Batches to be judged by, in their order."""
    batch_size = max(EVALUATION_BATCH, config.batch_size) * world.size
    return Loader(images, preprocess, batch_size=batch_size, device=device, share=world.share)


def _classification(config: TrainConfig, images: ImageSet, device: torch.device) -> Objective:
    weights = class_weights(images.counts()).to(device) if config.class_weights != "none" else None
    return Classification(config.label_smoothing, weights)


def _check_network(
    config: TrainConfig,
    model: nn.Module,
    objective: Objective,
    dataset: Dataset,
    preprocess: Preprocess,
    *,
    device: torch.device,
    world: World,
) -> str:
    """Bring the network to its device and make sure that it can do the task; the name of its head, where asked for."""
    model.to(device)
    model.eval()  # two images are looked at, and nothing may be learned from them
    probe = preprocess(dataset.test.images[:2].to(device))
    objective.check(model, probe, len(dataset.classes))
    _check_alike(model, world)
    head = head_of(model, len(dataset.classes), probe)[0] if config.freeze_epochs else ""
    if config.execution.sync_bn and world.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return head


def _device_of(config: TrainConfig, world: World, resumed: Plan | None) -> torch.device:
    """The device of this process: on a machine with several accelerators each process has its own."""
    name = config.execution.device
    if name == "auto" and resumed is not None and torch.device(resumed.device).type == "cpu":
        name = "cpu"  # an accelerator that came since would give other numbers
    device = find_device(name)
    if world.size > 1 and device.type == "cuda":
        device = torch.device("cuda", world.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if config.execution.sync_bn and device.type == "cpu":
        raise ValueError("--sync-bn needs an accelerator: PyTorch has no synchronised batch norm for the CPU; leave it")
    return device


@contextmanager
def _norms_watched(model: nn.Module) -> Iterator[list[bool]]:
    """Of each batch norm that is run: whether it has one number of each image and channel, and so needs two images."""
    lonely: list[bool] = []

    def look(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        lonely.append(inputs[0].shape[2:].numel() == 1)

    hooks = [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, _BatchNorm)]
    try:
        yield lonely
    finally:
        for hook in hooks:
            hook.remove()


def _check_batches(config: TrainConfig, images: int, world: World, *, least: int = 1) -> None:
    """Every batch, also the last of an epoch, must have so many images for each process.

    Args:
        config: Has the batch size.
        images: To learn from.
        world: The processes.
        least: Images for each; 2 where a norm cannot do with one.
    """
    batch, why = config.batch_size * world.size, "batch norm cannot normalise one image alone"
    if config.batch_size < least:
        raise ValueError(f"--batch-size {config.batch_size} is too small: {why}; expected at least {least}")
    if batch > images:
        each = f" x {world.size} processes" if world.size > 1 else ""
        raise ValueError(
            f"--batch-size {config.batch_size}{each} is more than the {images:,} training images; "
            f"expected 1 to {images // world.size}"
        )
    if 0 < images % batch < least * world.size:
        why = why if least > 1 else "each process needs an image"
        sizes = range(config.batch_size, least - 1, -1)
        size = next((b for b in sizes if not 0 < images % (b * world.size) < least * world.size), least)
        raise ValueError(
            f"--batch-size {config.batch_size} leaves {images % batch} image{'s' if images % batch > 1 else ''} in "
            f"the last batch of an epoch, and {why}; try --batch-size {size}"
        )


def _check_alike(model: nn.Module, world: World) -> None:
    """Every process must bring the same network, or their gradients cannot be added up."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items() if not is_lazy(value)]
    mine = hashlib.blake2b("\n".join(shapes).encode()).hexdigest()
    theirs = world.gather(mine)
    if len(set(theirs)) > 1:
        other = next(rank for rank, digest in enumerate(theirs) if digest != theirs[0])
        raise ValueError(
            f"rank {other} has another network than rank 0: expected the same names and shapes in all {world.size} "
            "processes; build it in the same way in each of them"
        )


def _plan_for(
    config: TrainConfig, model: nn.Module, objective: Objective, train: Loader, world: World, resumed: Plan | None
) -> Plan:
    """What is fastest here; where several processes train, what the first of them found while all of them measured."""
    execution = dataclasses.replace(config.execution, device=str(train.device))
    batch = next(train.batches())
    plan = choose_plan(execution, model, objective, batch, steps=round(config.epochs * len(train)), resumed=resumed)
    return dataclasses.replace(Plan.from_dict(world.tell(plan.to_dict())), device=plan.device)


def model_name(model: nn.Module) -> str:
    """The registered name, or the class in small letters."""
    spec = getattr(model, "spec", None)
    return spec.name if spec is not None else type(model).__name__.lower()


def _describe_model(model: nn.Module) -> dict[str, Any]:
    """How to make the network again, when it says so itself, and what it is otherwise."""
    spec = getattr(model, "spec", None)
    parameters = sum(p.numel() for p in model.parameters())
    described: dict[str, Any] = {
        "class": f"{type(model).__module__}:{type(model).__qualname__}",
        "parameters": parameters,
    }
    if spec is not None:
        return {**described, "name": spec.name, "arguments": dict(spec.arguments)}
    return {**described, "layers": _layers_fingerprint(model)}


def _layers_fingerprint(model: nn.Module) -> str:
    """Changes when a layer or a setting of one does, also where the weights have the same shapes as before."""
    words = re.sub(r"0x[0-9a-fA-F]+", "", repr(model))  # an address of memory is another one in each process
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def _describe_data(dataset: Dataset) -> dict[str, Any]:
    """What was learned from, how to load it again, and how to notice that it changed."""
    return {
        "name": dataset.name,
        "source": dict(dataset.source),
        "classes": list(dataset.classes),
        "image_size": list(dataset.image_size),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
        "fingerprint": fingerprint(dataset),
    }
