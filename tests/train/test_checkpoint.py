import errno
import os
import random
import zipfile
from hashlib import blake2b
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.errors import RunError
from convscope.train import TrainConfig
from convscope.train.checkpoint import Checkpoint, CheckpointStore
from convscope.train.differences import FREE, differences
from convscope.train.generators import rng_state

CPU = torch.device("cpu")


def checkpoint(step: int, **more: object) -> Checkpoint:
    values = {
        "epoch": step // 10,
        "batch": step % 10,
        "step": step,
        "seconds": 1.5,
        "epoch_seconds": 0.5,
        "rows": 2,
        "model": {"w": torch.arange(50_000.0) + step},
        "optimizer": {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "rng": [rng_state(CPU)],
        "meters": [[{"count": torch.tensor(3), "sums.loss": torch.tensor(0.25)}] * 2],
        "best": {"score": 0.5, "epoch": 1.0},
    }
    return Checkpoint(**{**values, **more})


def quiet(warning: str) -> None:
    raise AssertionError(f"warned: {warning}")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def same(ours: object, theirs: object) -> bool:
    if isinstance(theirs, torch.Tensor):
        return isinstance(ours, torch.Tensor) and torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def test_what_was_saved_is_read(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoint")
    saved = checkpoint(
        7,
        average={"w": torch.ones(3)},
        scaler={"scale": 65536.0, "_growth_tracker": 3},
        rng=[{"cpu": torch.get_rng_state()}, {"cpu": torch.zeros(5056, dtype=torch.uint8)}],
        world=2,
        images=448,
    )
    store.save(saved)
    assert names(store.folder) == ["step-000000007.pt"]
    assert same(vars(store.newest(quiet)), vars(saved))


def test_fields_that_an_earlier_version_did_not_write_are_empty():
    plain = checkpoint(3)
    assert (plain.average, plain.scaler, plain.world, plain.images) == ({}, {}, 1, 0)


def test_one_file_is_a_plain_archive_sealed_by_its_own_checksum(tmp_path):
    """PyTorch and zip read it, and the checksum is what hashlib gives for all but the comment."""
    CheckpointStore(tmp_path).save(checkpoint(7))
    path = tmp_path / "step-000000007.pt"
    assert same(torch.load(path, weights_only=True)["model"]["w"], torch.arange(50_000.0) + 7)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        comment = archive.comment
    content = path.read_bytes().removesuffix(comment)
    as_torch_wrote_it = content[:-2] + b"\0\0"
    assert comment == b"convscope blake2b " + blake2b(as_torch_wrote_it, digest_size=32).hexdigest().encode()


def test_the_two_newest_are_kept_by_step_and_not_by_time(tmp_path):
    store = CheckpointStore(tmp_path)
    for step in (0, 9, 10, 200):
        store.save(checkpoint(step))
        os.utime(tmp_path / f"step-{step:09d}.pt", (1e9 - step, 1e9 - step))  # a clock that runs backwards
    assert names(tmp_path) == ["step-000000010.pt", "step-000000200.pt"]
    store.save(checkpoint(200, epoch=99))
    assert names(tmp_path) == ["step-000000010.pt", "step-000000200.pt"]
    assert store.newest(quiet).epoch == 99


def test_what_lies_after_a_new_checkpoint_was_given_up(tmp_path):
    """Going on from the one before a damaged one must not leave the damaged one as the newest."""
    store = CheckpointStore(tmp_path)
    for step in (100, 200):
        store.save(checkpoint(step))
    (tmp_path / "step-000000200.pt").write_bytes(b"damaged")
    store.save(checkpoint(150))
    assert names(tmp_path) == ["step-000000100.pt", "step-000000150.pt"]
    assert store.newest(quiet).step == 150


DAMAGES = {
    "cut in half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "empty": lambda content: b"",
    "one bit": lambda content: bytes([*content[:1000], content[1000] ^ 1, *content[1001:]]),
    "zeros": lambda content: bytes(len(content)),
    "no seal": lambda content: content[:-82],
    "more behind it": lambda content: content + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_newest_one_is_passed_over_in_one_sentence(tmp_path, damage):
    store = CheckpointStore(tmp_path)
    for step in (80, 120):
        store.save(checkpoint(step))
    newest = tmp_path / "step-000000120.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    warnings: list[str] = []
    assert store.newest(warnings.append).step == 80
    assert warnings == [
        f"{newest} is damaged: it does not match its checksum; going on from the one before it, of step 80"
    ]


@given(st.data())
def test_a_bit_that_flips_anywhere_is_noticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoint")
    CheckpointStore(folder).save(checkpoint(1, model={"w": torch.ones(2)}))
    path = folder / "step-000000001.pt"
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"is damaged: it does not match its checksum: this run cannot go on"):
        CheckpointStore(folder).newest(quiet)


def test_where_none_is_whole_each_is_named(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoint")
    with pytest.raises(RunError, match=r"checkpoint holds no checkpoint: this run cannot go on; start a new one"):
        store.newest(quiet)
    for step in (1, 2):
        store.save(checkpoint(step))
        (store.folder / f"step-{step:09d}.pt").write_bytes(b"")
    with pytest.raises(RunError, match=r"0002\.pt is damaged: .*; .*0001\.pt is damaged: .*cannot go on; start a new"):
        store.newest(quiet)


def test_a_checkpoint_of_an_earlier_version_says_so(tmp_path):
    (tmp_path / "trainer.pt").write_bytes(b"")
    with pytest.raises(RunError, match=r"trainer\.pt is of an earlier version of convscope, .*; start a new run"):
        CheckpointStore(tmp_path).newest(quiet)


class Bomb:
    def __reduce__(self):
        return (print, ("this code must never run",))


def test_nothing_is_unpickled_even_under_a_valid_seal(tmp_path, capsys):
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1))
    store.save(checkpoint(2, best=Bomb()))
    warnings: list[str] = []
    assert store.newest(warnings.append).step == 1
    assert len(warnings) == 1
    assert "was not opened" in warnings[0]
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("room", [0, 100, 70_000, 200_500])
def test_a_full_disk_leaves_the_previous_one_and_no_litter(tmp_path, monkeypatch, room):
    """The disk takes ``room`` bytes and then no more, wherever within the archive that is."""
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1))
    real = Path.open

    class Full:
        def __init__(self, file):
            self.file, self.left = file, room

        def write(self, content):
            if len(content) > self.left:
                self.file.write(content[: self.left])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left -= len(content)
            return self.file.write(content)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **how: Full(real(path, mode, **how)) if "w" in mode else real(path, mode)
    )
    untouched = r"could not write .*0002\.pt: No space left on device; what was there before is untouched"
    with pytest.raises(RunError, match=untouched):
        store.save(checkpoint(2))
    monkeypatch.undo()
    assert names(tmp_path) == ["step-000000001.pt"]
    assert same(store.newest(quiet).model, checkpoint(1).model)


# ---- what may change between two sittings


def config(**changes: object) -> dict[str, object]:
    train = TrainConfig().to_dict()
    for path, value in changes.items():
        *groups, name = path.split("__")
        inner = train
        for group in groups:
            inner = inner[group]
        assert name in inner
        inner[name] = value
    return {
        "model": {"class": "convscope.models.lenet:LeNet", "parameters": 44426, "name": "lenet", "arguments": {"k": 5}},
        "data": {
            "name": "digits",
            "source": {"kind": "named", "name": "digits"},
            "classes": ["0", "1"],
            "fingerprint": "aa",
        },
        "input": {"image_size": [8, 8], "mean": [0.5], "std": [0.25]},
        "train": train,
    }


def test_equal_configs_do_not_differ():
    through_json = {**config(), "format": 1}
    assert differences(through_json, config()) == []
    as_tuples = {**config(), "input": {"image_size": (8, 8), "mean": (0.5,), "std": (0.25,)}}
    assert differences(config(), as_tuples) == []


def test_settings_are_named_as_they_are_typed():
    now = config(epochs=3, optimizer__lr=0.1, execution__threads=2, image_size=96)
    assert differences(config(), now) == [
        "--epochs: 10 then, 3 now",
        "--image-size: none then, 96 now",
        "--lr: 0.01 then, 0.1 now",
        "--threads: 0 then, 2 now",
    ]


def test_other_images_and_another_network_are_named():
    now = config()
    now["model"] |= {"name": "vgg11", "arguments": {"k": 3}}
    now["data"] |= {"fingerprint": "bb", "classes": ["0", "2"]}
    now["input"] |= {"mean": [0.4]}
    assert differences(config(), now) == [
        "--model: lenet then, vgg11 now",
        "model arguments k: 5 then, 3 now",
        "data classes: ['0', '1'] then, ['0', '2'] now",
        "the images themselves (fingerprint): aa then, bb now",
        "input mean: [0.5] then, [0.4] now",
    ]


def test_what_no_weight_depends_on_is_free():
    now = config(execution__log_interval=7, saving__checkpoint_every="5m", saving__keep="all")
    now["data"] |= {"name": "moved", "source": {"kind": "folder", "path": "elsewhere"}}
    assert differences(config(), now) == []
    here = {path for path in FREE if path[0] == "train"}
    assert all(path[-1] in TrainConfig().to_dict()[path[1]] for path in here)


@pytest.mark.parametrize(("then", "now"), [("last", "best"), ("best", "last"), ("best", "3")])
def test_which_weights_are_the_result_is_not_free(then, now):
    lines = differences(config(saving__keep=then), config(saving__keep=now))
    assert lines == [f"--keep: {then} then, {now} now"]


def test_every_other_setting_makes_a_difference():
    """One that is added later is compared unless somebody decides otherwise."""

    def leaves(values, path=()):
        for name, value in values.items():
            yield from leaves(value, (*path, name)) if isinstance(value, dict) else [(*path, name)]

    settings = [path for path in leaves(TrainConfig().to_dict()) if ("train", *path) not in FREE]
    assert len(settings) > 20
    for path in settings:
        flag = f"--{path[-1].replace('_', '-')}"
        (line,) = differences(config(), config(**{"__".join(path): "changed"}))
        assert line.startswith(f"{flag}: ")
        assert line.endswith(" then, changed now")


def test_what_an_earlier_version_did_not_write_is_no_difference():
    saved = config()
    del saved["train"]["optimizer"]["lr"]
    del saved["train"]["execution"]
    del saved["model"]["parameters"]
    assert differences(saved, config(optimizer__lr=5.0, execution__threads=2)) == []


def test_what_this_version_does_not_know_is_a_difference():
    saved = config()
    saved["train"]["warp"] = 9
    assert differences(saved, config()) == ["--warp: 9 then, not given now"]


def test_a_long_value_is_cut():
    saved, now = config(), config()
    saved["data"]["classes"] = [f"class {number}" for number in range(1000)]
    (line,) = differences(saved, now)
    assert line.startswith("data classes: ['class 0', 'class 1'")
    assert line.endswith("… then, ['0', '1'] now")
    assert len(line) < 100


def test_random_nested_values_differ_exactly_where_they_were_changed():
    generator = random.Random(4)
    for _ in range(200):
        train = {f"group_{g}": {f"knob_{g}_{k}": generator.random() for k in range(3)} for g in range(3)}
        changed = {group: dict(values) for group, values in train.items()}
        picked = sorted(generator.sample([(g, k) for g in range(3) for k in range(3)], generator.randrange(5)))
        for g, k in picked:
            changed[f"group_{g}"][f"knob_{g}_{k}"] += 1
        lines = differences({"train": train}, {"train": changed})
        assert [line.partition(":")[0] for line in lines] == [f"--knob-{g}-{k}" for g, k in picked]
