"""Checks that settings, images and network fit each other, and puts together what a loop works with."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.data import Dataset, ImageSet, Loader, Preprocess, fingerprint, hold_out
from convscope.data.augment import Augment
from convscope.train.average import WeightAverage
from convscope.train.balance import class_weights
from convscope.train.batch_size import check_batches, check_norms
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
        check_batches(config.batch_size, len(learn), world)
        preprocess = preprocess_for(dataset, config)
        train = _learning(config, learn, preprocess, device=device, world=world)
        objective = objective or _classification(config, learn, device)
        probe = preprocess(dataset.test.images[:2].to(device))
        _check_network(model, objective, probe, classes=len(dataset.classes), world=world)
        check_norms(config.batch_size, len(learn), world, model=model, probe=probe)
        head = head_of(model, len(dataset.classes), probe)[0] if config.freeze_epochs else ""
        if config.execution.sync_bn and world.size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        plan = _plan_for(config, model, objective, train, world, resumed)
    if config.execution.compile and not plan.compiled:
        emit(Noted(f"--compile was asked for and not done: {plan.reason}"))
    forward = _ready(config, model, plan, world)
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
    """Show two images to a network that still has lazy layers, which draw their weights now.

    Raises:
        ValueError: A lazy layer was not reached.
    """
    waiting = _lazy(model)
    if not waiting:
        return
    device = next(iter(waiting.values())).device
    give_shapes(model, preprocess_for(dataset, config)(dataset.test.images[:2].to(device)))
    if unreached := list(_lazy(model)):
        raise ValueError(
            f"{unreached[0]} belongs to a lazy layer that two images in eval mode did not reach, so its shape is not "
            "known; use the layer in forward, give it its shape, or leave it out"
        )


def _lazy(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers without a shape, by name."""
    named = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor for name, tensor in named if is_lazy(tensor)}


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


def _ready(config: TrainConfig, model: nn.Module, plan: Plan, world: World) -> nn.Module:
    """Set up the process and give every one the same weights to begin with; what trains: the model or compiled code."""
    plan.settle()
    forward = plan.prepare(model)
    world.spread(model.state_dict().values())
    if world.rank:  # each process drops out other units
        seed_generators(config.seed ^ (world.rank << 40))
    return forward


def _classification(config: TrainConfig, images: ImageSet, device: torch.device) -> Objective:
    weights = class_weights(images.counts()).to(device) if config.class_weights != "none" else None
    return Classification(config.label_smoothing, weights)


def _check_network(model: nn.Module, objective: Objective, probe: Tensor, *, classes: int, world: World) -> None:
    """Bring the network to its device and make sure that it can do the task."""
    model.to(probe.device)
    model.eval()  # two images are looked at, and nothing may be learned from them
    objective.check(model, probe, classes)
    _check_alike(model, world)


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


def _check_alike(model: nn.Module, world: World) -> None:
    """Every process must bring the same network, or their gradients cannot be added up."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
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
