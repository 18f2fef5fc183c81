"""What ``load`` is asked for: names, folders, and what goes with which."""

import re
from pathlib import Path

import pytest

from convscope import data
from convscope.errors import DataError


def test_a_path_that_does_not_exist_and_a_name_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("./mnist", "some/where", str(tmp_path / "x"), "~/surely/not/there", Path("digitz")):
        with pytest.raises(DataError, match="no such folder"):
            data.load(path)
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        data.load("digitz")


def test_a_missing_relative_path_says_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"some/where (relative to {tmp_path}) is not there")):
        data.load("some/where")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'x'} is not there")):
        data.load(tmp_path / "x")


def test_an_empty_name_is_not_the_current_folder(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets)
    with pytest.raises(ValueError, match="expected a data set or a folder, got an empty name"):
        data.load("")
    assert len(data.load(".").train) == 4


def test_a_folder_of_pictures_takes_no_data_folder(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pets: a folder of pictures is read where it is; leave out --data-dir"):
        data.load(pets, data_dir=tmp_path)


def test_a_name_wins_over_a_folder_and_a_path_does_not(pictures, tmp_path: Path, monkeypatch) -> None:
    pictures({"a": [1, 2], "b": [3, 4]}, root="digits")
    monkeypatch.chdir(tmp_path)
    assert len(data.load("digits").train) == 1438
    assert len(data.load("./digits").train) == 2
    assert len(data.load(Path("digits")).train) == 2


def test_numbers_are_checked(pets: Path, pictures) -> None:
    with pytest.raises(ValueError, match="image_size must be positive, got 0"):
        data.load(pets, image_size=0)
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3 \(colour\), got 2"):
        data.load(pets, channels=2)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        data.load(pictures({"a": [1, 2], "b": [3, 4]}, root="flat"), test_fraction=1)


def test_digits_take_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="digits comes with scikit-learn and has no files; leave out --data-dir"):
        data.load("digits", data_dir=tmp_path)


def test_a_named_data_set_has_its_own_channels() -> None:
    assert data.load("digits", channels=1).channels == 1
    with pytest.raises(ValueError, match="digits has 1 channel, not 3; only folders are converted"):
        data.load("digits", channels=3)
    with pytest.raises(ValueError, match="cifar10 has 3 channels, not 1; only folders are converted"):
        data.load("cifar10", channels=1)
