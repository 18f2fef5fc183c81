"""Where a trainer gets its batches from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from convscope.d2l.hyper import HyperParameters


class DataModule(HyperParameters):
    """Batches to learn from and batches to be judged by.

    Args:
        root: Folder that holds the files.
        num_workers: Processes that would read them; kept for programs that read the attribute.

    Source:
        Zhang et al., "Dive into Deep Learning", section 3.2.
    """

    root: str
    num_workers: int
    batch_size: int

    def __init__(self, root: str = "../data", num_workers: int = 4) -> None:
        self.save_hyperparameters()

    def get_dataloader(self, train: bool) -> Any:
        """Something with ``len`` and ``iter``; a data module says itself what.

        Raises:
            NotImplementedError: It does not.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method get_dataloader(self, train) that returns an iterable of batches"
        )

    def train_dataloader(self) -> Any:
        """Batches to learn from."""
        return self.get_dataloader(train=True)

    def val_dataloader(self) -> Any:
        """Batches to be judged by; None is legal."""
        return self.get_dataloader(train=False)

    def get_tensorloader(
        self, tensors: Sequence[Tensor], train: bool, indices: Any = slice(0, None)
    ) -> Iterable[list[Tensor]]:
        """Batches of ``self.batch_size`` rows, cut from tensors side by side; shuffled for training.

        Args:
            tensors: Of the same length.
            train: Whether to shuffle.
            indices: Which rows.
        """
        rows = TensorDataset(*(tensor[indices] for tensor in tensors))
        return DataLoader(rows, self.batch_size, shuffle=train)
