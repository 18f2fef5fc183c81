import errno
import json
import os
import pickle
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import safe_open, save_file
from torch import nn

from convscope.errors import RunError
from convscope.files import replacing, write_json
from convscope.train import Logged, Run, TrainConfig, Trainer
from convscope.train.folder import check_free, locked


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


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ('{"format": 1, "model": {}}', True),
        ('{\n  "format": 1,\n  "mod', True),  # cut off
        ('{"data": {}, "format": 99}', True),
        ('{"architectures": ["BertModel"]}', False),
        ('{"format": "pt"}', False),
        ("[]", False),
        ("", False),
    ],
)
def test_only_what_says_the_format_of_a_run_is_replaced(tmp_path, content, ours):
    """Another program's weights lie under the same names."""
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_text("precious")
    expected = "already holds a run; add --force" if ours else "holds files that are no run"
    with pytest.raises(RunError, match=expected):
        check_free(tmp_path, overwrite=False)
    with nullcontext() if ours else pytest.raises(RunError, match=expected):
        check_free(tmp_path, overwrite=True)


def test_what_to_type_to_go_on_works_in_a_shell_or_says_that_it_takes_python(tmp_path):
    made = {"model": {"name": "lenet"}, "data": {"source": {"name_or_folder": "digits"}}}
    path = tmp_path / "my run; $HOME"
    words = shlex.split(Run(path, made).way_on)
    assert words == ["convscope", "train", "--resume", str(path)]
    for lacking in ({**made, "model": {"class": "mine:Net"}}, {**made, "data": {"source": {}}}, {}):
        assert Run(path, lacking).way_on == f"Trainer.resume({str(path)!r}, model, dataset)"


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


def test_a_history_torn_at_any_byte_of_its_last_line_has_all_rows_before_it(run):
    path = run.path / "metrics.jsonl"
    whole, rows = path.read_bytes(), run.history.rows
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert run.history.rows == rows[:-1], cut
    path.write_bytes(whole[:-1])  # only the line break is missing
    assert run.history.rows == rows
    path.write_bytes(whole[:start] + bytes(40))  # what a power cut leaves on some file systems
    assert run.history.rows == rows[:-1]


def test_every_row_is_in_the_file_as_soon_as_it_is_told(tmp_path, model, dataset):
    seen = []

    def look(event: object) -> None:
        if isinstance(event, Logged):
            lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
            seen.append(json.loads(lines[-1]) == event.row.to_dict())

    Trainer(TrainConfig(epochs=2, batch_size=120), listeners=[look]).fit(model, dataset, out=tmp_path / "run")
    assert seen == [True] * 3


def test_a_history_that_cannot_reach_the_disk_is_named(run):
    run.settle_history()
    (run.path / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"could not write .*metrics\.jsonl: No such file"):
        run.settle_history()


def weights_of(number: int, model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(value, number) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("keep", "kept"), [(None, (1, 2, 3, 12)), (2, (3, 12)), (1, (12,)), (0, ())])
def test_the_weights_of_the_newest_epochs_are_kept(run, model, keep, kept):
    for epoch in (1, 2, 3, 12):
        run.save_epoch_weights(epoch, weights_of(epoch, model), keep=keep)
    assert run.saved_epochs == kept
    for epoch in kept:
        run.load_weights(model, epoch=epoch)
        assert all((value == epoch).all() for value in model.state_dict().values())
        assert (run.path / "weights" / f"epoch-{epoch:04d}.safetensors").is_file()
    if keep == 0:
        assert not (run.path / "weights").exists()


def test_an_epoch_that_is_saved_again_replaces_what_came_after_it(run, model):
    for epoch in (1, 2, 3):
        run.save_epoch_weights(epoch, weights_of(epoch, model), keep=None)
    run.save_epoch_weights(2, weights_of(9, model), keep=None)
    assert run.saved_epochs == (1, 2)
    run.load_weights(model, epoch=2)
    assert all((value == 9).all() for value in model.state_dict().values())


def test_an_epoch_without_weights_of_its_own_says_which_have_some(run, model):
    with pytest.raises(RunError, match=r"epoch-0007\.safetensors is missing: .*: none; train with --keep all or a num"):
        run.load_weights(model, epoch=7)
    for epoch in (2, 3):
        run.save_epoch_weights(epoch, model.state_dict(), keep=None)
    with pytest.raises(RunError, match=r"epoch-0007\.safetensors is missing: epochs with their own weights: 2, 3"):
        run.load_weights(model, epoch=7)


def test_the_weights_of_an_epoch_tell_what_they_are_of(run, model):
    run.save_weights(model.state_dict())
    run.save_epoch_weights(1, model.state_dict(), keep=None)
    assert (run.path / "weights/epoch-0001.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_replacing_a_run_leaves_nothing_of_it_and_everything_else(run, model, dataset):
    run.save_epoch_weights(7, model.state_dict(), keep=None)
    (run.path / "checkpoint" / "step-000000999.pt").write_bytes(b"of an abandoned run")
    (run.path / "checkpoint" / "trainer.pt").write_bytes(b"of an earlier version")
    (run.path / "notes.txt").write_text("mine")
    Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=run.path, overwrite=True)
    assert run.saved_epochs == ()
    assert (run.path / "notes.txt").read_text() == "mine"
    names = {entry.name for entry in (run.path / "checkpoint").iterdir()}
    assert not names & {"step-000000999.pt", "trainer.pt"}


def test_what_a_killed_process_left_half_written_is_swept_by_the_next(run):
    (run.path / "weights").mkdir()
    litter = [
        run.path / ".model.safetensors.123.part",
        run.path / ".config.json.7.part",
        run.path / "checkpoint" / ".step-000000009.pt.123.part",
        run.path / "weights" / ".epoch-0001.safetensors.5.part",
    ]
    report = run.path / ".report.html.9.part"  # perhaps being written by another process at this moment
    for file in (*litter, report):
        file.write_bytes(b"half")
    with locked(run.path):
        assert not any(file.exists() for file in litter)
        assert report.exists()


def test_a_folder_of_a_run_that_was_killed_before_it_began_is_free(tmp_path, model, dataset):
    path = tmp_path / "run"
    (path / "checkpoint").mkdir(parents=True)
    for name in ("checkpoint/lock", "metrics.jsonl", ".config.json.9.part"):
        (path / name).write_bytes(b"")
    Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=path)
    assert not (path / ".config.json.9.part").exists()
    (path / "config.json").unlink()
    with pytest.raises(RunError, match="holds files that are no run, and they are not overwritten"):
        Trainer(TrainConfig(epochs=1)).fit(model, dataset, out=path, overwrite=True)


def test_new_words_replace_the_old_ones_in_the_same_folder(run):
    settings = {**run.config["train"], "epochs": 77}
    changed = run.having({**run.config, "train": settings})
    assert changed.train_config.epochs == 77
    assert Run.open(run.path).train_config.epochs == 1
    changed.write_config()
    assert Run.open(run.path).train_config.epochs == 77
    assert run.train_config.epochs == 1


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
