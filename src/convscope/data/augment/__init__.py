"""Augmentation: training images varied at random, a whole batch at a time, on its device.

``config``    what may be done, and how much of it
``draws``     random numbers that are a function of seed, epoch, image and purpose
``moving``    flips and shifts of bytes
``warping``   crops and rotations, in boxes from ``boxes``
``coloring``  brightness, contrast, saturation
``trivial``   one operation of kornia's per image
``hiding``    random erasing and cutout, in boxes from ``boxes``
``mixing``    mixup and cutmix
``augmenting``  all of it in order
"""

from convscope.data.augment.augmenting import Augment
from convscope.data.augment.config import AugmentConfig

__all__ = ["Augment", "AugmentConfig"]
