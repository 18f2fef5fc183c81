import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import safe_open, save_file
from torch import nn

from convscope.errors import RunError
from convscope.files import replacing, write_json
from convscope.train import Run, TrainConfig, Trainer


@pytest.fixture
def run(tmp_path, model, dataset):
    return Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=tmp_path / "run")


def test_weights_tell_what_they_are_of(run, model):
    with safe_open(run.path / "model.safetensors", "pt") as file:
        about = json.loads(file.metadata()["convscope"])
        names = set(file.keys())
    assert names == set(model.state_dict())
    assert about["classes"] == ["row", "column", "diagonal"]
    assert about["input"] == {"image_size": [8, 8], "mean": [0.22], "std": [0.19]}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), r"model\.safetensors is missing: train again"),
        (lambda file: file.write_bytes(pickle.dumps({"w": 1})), "pickled weights are refused"),
        (lambda file: torch.save({"w": torch.zeros(1)}, file), "pickled weights are refused"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "is not a whole safetensors file"),
        (lambda file: file.write_bytes(b""), "is not a whole safetensors file"),
        (
            lambda file: save_file(nn.Linear(2, 2).state_dict(), file),
            r"holds weights of another network than torch\.nn\.modules\.container:Sequential: 6 tensors differ, the "
            r"first is '0\.bias', expected \(8,\), got none",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_refused_by_name(run, model, damage, message):
    damage(run.path / "model.safetensors")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RunError, match=message):
        run.load_weights(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.update(data=None),
        lambda config: config["data"].pop("classes"),
        lambda config: config["data"].update(classes=["only", 1, "name"]),
        lambda config: config["data"].update(image_size=[8]),
        lambda config: config.update(input={}),
        lambda config: config["input"].update(std=[0.0]),
        lambda config: config["model"].update(name="lenet"),
        lambda config: config["model"].update(name="lenet", arguments={"num_classes": 77}),
    ],
)
def test_a_damaged_config_is_called_damaged(run, damage):
    config = json.loads((run.path / "config.json").read_text())
    damage(config)
    write_json(run.path / "config.json", config)
    with pytest.raises(RunError, match=r"config\.json is damaged: "):
        Run.open(run.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no run folder: there is no config.json in it"),
        ("{", "is damaged: not valid JSON"),
        ("[]", "has format list, and this version reads format 1"),
        ('{"format": 99}', "has format 99, and this version reads format 1"),
        ('{"format": 1, "model": {}}', "is damaged: it lacks data, input, train"),
    ],
)
def test_a_folder_that_is_no_run_says_why(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        Run.open(tmp_path)


def test_settings_of_another_version_are_named(run):
    config = dict(run.config)
    config["train"] = {**config["train"], "warp": 9}
    write_json(run.path / "config.json", config)
    with pytest.raises(RunError, match=r"holds settings that this version refuses: .*warp"):
        Run.open(run.path).train_config  # noqa: B018


def test_a_last_line_cut_off_is_left_out_and_a_damaged_middle_is_named(run):
    path = run.path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"kind": "ep')
    assert len(run.history.rows) == len(whole.splitlines())
    for wrong in ("nonsense", "null", '{"kind": "epoch"}'):
        path.write_text(wrong + "\n" + whole)
        with pytest.raises(RunError, match=r"metrics\.jsonl is damaged in line 1"):
            run.history  # noqa: B018
    path.write_bytes(b"\xff\xfe" + whole.encode())
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: 'utf-8' codec"):
        run.history  # noqa: B018


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    untouched = r"could not write .*: No space left on device; what was there before is untouched"
    with pytest.raises(RunError, match=untouched), replacing(file) as beside:
        beside.write_text("new")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_while_saving_keeps_the_last_weights(run, monkeypatch):
    """Every write goes to a device without room; the file that is there must stay loadable."""
    before = (run.path / "model.safetensors").read_bytes()

    def write(_: Path, content: bytes) -> None:
        with FULL.open("wb", buffering=0) as device:
            device.write(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(RunError, match="No space left on device"):
        run.save_weights({"w": torch.zeros(10)})
    assert (run.path / "model.safetensors").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path, model, dataset):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match=r"could not make the run folder .*Permission denied"):
        Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=tmp_path / "run")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, model, dataset):
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="taken is a file; choose another --out"):
        Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=tmp_path / "taken")
    with pytest.raises(RunError, match=r"could not make the run folder .*Not a directory"):
        Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=tmp_path / "taken" / "run")
