"""The data sets that have a name: what they hold, who made them, and how their files are known to be right.

Source:
    Sums are SHA-256 of *contents*, so that a copy that was compressed anew or already unpacked is accepted.
    Fashion-MNIST, MNIST: contents of the files whose published MD5 sums torchvision lists
    (``torchvision/datasets/mnist.py``); the same values stand in several public projects.
    CIFAR-10: contents of the files inside the archive with the published MD5 c32a1d4ab5d03f1284b67883e8d87530;
    per file as in torchvision-ruby (``lib/torchvision/datasets/cifar10.rb``).
    Kuzushiji-MNIST: only sums of the *published* ``.gz`` files are public (torchvision's prototype data sets), so
    a ``.gz`` must be the published one, and an unpacked file is held to its size and structure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from convscope.naming import unknown_name


@dataclass(frozen=True)
class Content:
    """One file as it is after unpacking: its name, its bytes and their SHA-256 where that is public."""

    name: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """One file as it is offered for download, and what is inside.

    Args:
        name: File name at every mirror.
        contents: What comes out of it.
        sha256: Of the published file itself; only needed where a content has no sum of its own.
    """

    name: str
    contents: tuple[Content, ...]
    sha256: str | None = None


@dataclass(frozen=True)
class DataInfo:
    """What is known about a named data set before any of it is read.

    Args:
        name: What to type.
        title: What to print.
        description: One sentence.
        licence: The terms, as its authors state them.
        citation: Whom to cite.
        homepage: Where it comes from.
        image_shape: ``(C, H, W)``.
        train_images: Images to learn from.
        test_images: Images to judge by.
        classes: The name of each label.
        form: ``embedded`` needs no files, ``idx`` and ``cifar`` are file formats.
        torchvision_folder: Where torchvision keeps the files, below its root.
        mirrors: Addresses to which a published file's name is added, best first.
        files: What to download; empty when embedded.

    Example:
        >>> info("fashion-mnist").classes[9], info("digits").needs_files
        ('Ankle boot', False)
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    homepage: str
    image_shape: tuple[int, int, int]
    train_images: int
    test_images: int
    classes: tuple[str, ...]
    form: Literal["embedded", "idx", "cifar"]
    torchvision_folder: str = ""
    mirrors: tuple[str, ...] = ()
    files: tuple[Published, ...] = ()

    @property
    def needs_files(self) -> bool:
        """False for data that came with the installation."""
        return self.form != "embedded"

    @property
    def contents(self) -> Iterator[Content]:
        """Every file after unpacking."""
        return (content for file in self.files for content in file.contents)


IDX_FILES = (
    ("train-images-idx3-ubyte", 47_040_016),
    ("train-labels-idx1-ubyte", 60_008),
    ("t10k-images-idx3-ubyte", 7_840_016),
    ("t10k-labels-idx1-ubyte", 10_008),
)
TEN_DIGITS = tuple("0123456789")


def _idx(*content_sums: str | None, published_sums: tuple[str | None, ...] = (None,) * 4) -> tuple[Published, ...]:
    """The four files that every relative of MNIST has, under the names and in the order of ``IDX_FILES``."""
    rows = zip(IDX_FILES, content_sums, published_sums, strict=True)
    return tuple(Published(f"{name}.gz", (Content(name, size, own),), whole) for (name, size), own, whole in rows)


DIGITS = DataInfo(
    name="digits",
    title="Digits",
    description="1,797 handwritten digits, 8x8 grey; comes with the installation, works offline",
    licence="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998",
    homepage="https://doi.org/10.24432/C50P49",
    image_shape=(1, 8, 8),
    train_images=1_438,
    test_images=359,
    classes=TEN_DIGITS,
    form="embedded",
)

FASHION_MNIST = DataInfo(
    name="fashion-mnist",
    title="Fashion-MNIST",
    description="70,000 pictures of clothes, shoes and bags, 28x28 grey",
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset, arXiv 1708.07747, 2017",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    form="idx",
    torchvision_folder="FashionMNIST/raw",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    files=_idx(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

MNIST = DataInfo(
    name="mnist",
    title="MNIST",
    description="70,000 handwritten digits, 28x28 grey",
    licence="CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998",
    homepage="http://yann.lecun.com/exdb/mnist/",
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    classes=TEN_DIGITS,
    form="idx",
    torchvision_folder="MNIST/raw",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    files=_idx(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

KMNIST = DataInfo(
    name="kmnist",
    title="Kuzushiji-MNIST",
    description="70,000 characters of old Japanese handwriting, 28x28 grey",
    licence="CC BY-SA 4.0",
    citation="Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718, 2018",
    homepage="https://codh.rois.ac.jp/kmnist/",
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    form="idx",
    torchvision_folder="KMNIST/raw",
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://storage.googleapis.com/kuzushiji-mnist/",
    ),
    files=_idx(
        *(None,) * 4,
        published_sums=(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
)

CIFAR10 = DataInfo(
    name="cifar10",
    title="CIFAR-10",
    description="60,000 colour photographs of animals and vehicles, 32x32; the binary version",
    licence="none stated; free for research with citation",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    image_shape=(3, 32, 32),
    train_images=50_000,
    test_images=10_000,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    form="cifar",
    torchvision_folder="cifar-10-batches-bin",
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    ),
    files=(
        Published(
            "cifar-10-binary.tar.gz",
            tuple(
                Content(name, 30_730_000, sha256)
                for name, sha256 in (
                    ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
                    ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
                    ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
                    ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
                    ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
                    ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
                )
            ),
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
)

CATALOG = {info.name: info for info in (DIGITS, FASHION_MNIST, MNIST, KMNIST, CIFAR10)}


def names() -> list[str]:
    """Every name that ``load`` understands, the one without a download first.

    Example:
        >>> names()
        ['digits', 'fashion-mnist', 'mnist', 'kmnist', 'cifar10']
    """
    return list(CATALOG)


def info(name: str) -> DataInfo:
    """What is known about a named data set.

    Raises:
        ValueError: No data set has this name; the message suggests the nearest.
    """
    if name not in CATALOG:
        raise unknown_name("data set", name, CATALOG, hint="convscope data list")
    return CATALOG[name]


def recognise(sha256: str) -> tuple[DataInfo, Content] | None:
    """The data set and file to which contents with this sum belong."""
    for entry in CATALOG.values():
        for content in entry.contents:
            if content.sha256 == sha256:
                return entry, content
    return None
