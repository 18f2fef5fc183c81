"""Images in, batches out."""

from convscope.data.loader import Loader
from convscope.data.preprocess import Preprocess
from convscope.data.types import Dataset, ImageSet

__all__ = ["Dataset", "ImageSet", "Loader", "Preprocess"]
