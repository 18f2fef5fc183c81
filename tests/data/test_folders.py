"""Which pictures a folder has, before any is opened."""

from pathlib import Path

import pytest

from convscope.data.folders import scan_folder
from convscope.errors import DataError


def paths(listing) -> list[str]:
    return [file.path for file in listing.files()]


def test_a_folder_with_splits(pictures) -> None:
    root = pictures({"train/dog": [1, 2], "train/cat": [3], "test/dog": [4]})
    scan = scan_folder(root)
    assert scan.classes == ("cat", "dog")
    assert paths(scan.train) == ["train/cat/000.png", "train/dog/000.png", "train/dog/001.png"]
    assert scan.train.labels == (0, 1, 1)
    assert paths(scan.test) == ["test/dog/000.png"]
    assert scan.test.labels == (1,)  # a class that is missing from the test split keeps its index
    assert not scan.split_by_seed
    stat = (root / "train/cat/000.png").stat()
    assert scan.train.entries[0] == f"train/cat/000.png\0{stat.st_size}\0{stat.st_mtime_ns}"


@pytest.mark.parametrize("name", ["test", "testing", "val", "valid", "validation", "Test", "VAL"])
def test_every_usual_name_of_a_test_split(pictures, name: str) -> None:
    scan = scan_folder(pictures({"train/a": [1], "train/b": [2], f"{name}/a": [3]}))
    assert paths(scan.test) == [f"{name}/a/000.png"]


def test_test_comes_before_val(pictures) -> None:
    scan = scan_folder(pictures({"train/a": [1], "train/b": [2], "val/a": [3], "test/b": [4]}))
    assert paths(scan.test) == ["test/b/000.png"]


def test_a_folder_without_splits_is_split_by_seed(pictures) -> None:
    root = pictures({"a": [1] * 10, "b": [2] * 5})
    scan = scan_folder(root, test_fraction=0.2, seed=3)
    assert scan.split_by_seed
    assert scan.test.labels == (0, 0, 1)
    assert sorted(paths(scan.train) + paths(scan.test)) == sorted(
        [f"a/{place:03}.png" for place in range(10)] + [f"b/{place:03}.png" for place in range(5)]
    )
    assert scan_folder(root, test_fraction=0.2, seed=3) == scan
    assert len({tuple(paths(scan_folder(root, seed=seed).test)) for seed in range(10)}) > 5


def test_a_training_split_alone_is_split_by_seed(pictures) -> None:
    scan = scan_folder(pictures({"train/a": [1] * 5, "train/b": [2] * 5}))
    assert scan.split_by_seed
    assert scan.classes == ("a", "b")


@pytest.mark.parametrize("beside", ["unlabelled", "metadata/2023", ".cache"])
def test_a_training_split_beside_other_folders_is_split_by_seed(pictures, beside: str) -> None:
    root = pictures({"train/a": [1] * 5, "train/b": [2] * 5, beside: [3] * 5})
    scan = scan_folder(root)
    assert scan.split_by_seed
    assert scan.classes == ("a", "b")
    assert all(path.startswith("train/") for path in paths(scan.train) + paths(scan.test))
    assert (len(scan.train), len(scan.test)) == (8, 2)


def test_trains_among_cars_are_a_class(pictures) -> None:
    root = pictures({"train": [1, 1], "car": [2, 2]})
    (root / "train" / "empty").mkdir()
    assert scan_folder(root).classes == ("car", "train")


def test_classes_sort_naturally(pictures) -> None:
    assert scan_folder(pictures({f"class {number}": [1, 2] for number in (10, 9, 1, 100)})).classes == (
        *("class 1", "class 9", "class 10", "class 100"),
    )


def test_hidden_and_other_files_are_passed_over(pictures) -> None:
    root = pictures({"a": [1, 2], "b": [3, 4], ".ipynb_checkpoints": [5], "a/.thumbnails": [6], "__MACOSX": [7]})
    for name in (".DS_Store", "Thumbs.db", "a/notes.txt", "a/.hidden.png", "a/desktop.ini", "b/png", "a/._000.png"):
        (root / name).write_bytes(b"x")
    scan = scan_folder(root)
    assert scan.classes == ("a", "b")
    assert sorted(paths(scan.train) + paths(scan.test)) == ["a/000.png", "a/001.png", "b/000.png", "b/001.png"]


def test_pictures_may_lie_deeper_and_have_any_suffix(pictures) -> None:
    root = pictures({"a/2023/june": [1, 2], "b": [3, 4]})
    (root / "b/000.png").rename(root / "b/PHOTO.JPEG")
    scan = scan_folder(root)
    assert sorted(paths(scan.train) + paths(scan.test)) == [
        "a/2023/june/000.png",
        "a/2023/june/001.png",
        "b/001.png",
        "b/PHOTO.JPEG",
    ]


def test_a_link_that_leads_round_in_a_circle_is_not_followed(pictures) -> None:
    root = pictures({"a": [1, 2], "b": [3, 4]})
    (root / "a" / "circle").symlink_to(root)
    assert len(scan_folder(root).train) == 2


def test_linked_class_folders_count(pictures, tmp_path: Path) -> None:
    root = pictures({"a": [1, 2]})
    pictures({"b": [3, 4]}, root="elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere" / "b")
    assert scan_folder(root).classes == ("a", "b")


def test_empty_classes_are_left_out(pictures) -> None:
    root = pictures({"train/a": [1], "train/b": [2], "train/empty": [], "test/a": [3], "test/empty": []})
    assert scan_folder(root).classes == ("a", "b")


def test_no_pictures_says_which_layout_is_expected(pictures, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        scan_folder(pictures({}, root=".") / ".")
    assert "(it is empty); expected one of these layouts:" in str(caught.value)
    assert "/train/CAT/1.png" in str(caught.value)
    root = pictures({"": [1, 2]}, root="flat")
    with pytest.raises(DataError, match=r"no pictures in class folders \(it has files ending in \.png\)"):
        scan_folder(root)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ending in \.heic"):
        scan_folder(tmp_path / "photos")


def test_one_class_is_not_enough(pictures) -> None:
    with pytest.raises(DataError, match="only one class, 'a', and a classifier needs two"):
        scan_folder(pictures({"a": [1, 2]}))


def test_a_class_only_in_the_test_split_is_an_error(pictures) -> None:
    with pytest.raises(DataError, match="classes that the training split lacks: c2, c10;"):
        scan_folder(pictures({"train/a": [1], "train/b": [1], "test/c10": [1], "test/c2": [1]}))


def test_an_empty_test_split_is_an_error(pictures) -> None:
    with pytest.raises(DataError, match="test has no pictures"):
        scan_folder(pictures({"train/a": [1], "train/b": [1], "test": []}))


def test_single_pictures_cannot_be_held_out(pictures) -> None:
    with pytest.raises(DataError, match="a single picture, so none can be held out"):
        scan_folder(pictures({"a": [1], "b": [1]}))


def test_no_folder_and_no_folder_but_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        scan_folder(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="is a file, not a folder"):
        scan_folder(tmp_path / "file")
