"""Images in, batches out.

``N`` counts images, ``C`` channels (1 grey, 3 colour), ``H`` and ``W`` are pixels. Images are stored as uint8
``(N, C, H, W)`` with int64 labels ``(N,)``, in memory or as a read-only memory map; ``Preprocess`` makes them floats.
"""

from convscope.data.catalog import DataInfo, info, names
from convscope.data.decoding import decode
from convscope.data.finding import cache_folder, get
from convscope.data.loader import Loader, epoch_order
from convscope.data.loading import load
from convscope.data.preprocess import Preprocess
from convscope.data.sampling import balanced_order
from convscope.data.splitting import hold_out, stratified
from convscope.data.statistics import fingerprint, mean_std
from convscope.data.types import Dataset, ImageSet

__all__ = [
    "DataInfo",
    "Dataset",
    "ImageSet",
    "Loader",
    "Preprocess",
    "balanced_order",
    "cache_folder",
    "decode",
    "epoch_order",
    "fingerprint",
    "get",
    "hold_out",
    "info",
    "load",
    "mean_std",
    "names",
    "stratified",
]
