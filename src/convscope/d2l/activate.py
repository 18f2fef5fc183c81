"""``import convscope.d2l.activate``: from here on ``from d2l import torch as d2l`` finds ours.

Importing this module is the whole act; in a notebook ``%load_ext convscope.d2l`` does the same. How it works stands in
``convscope.d2l.finder``, which can be imported without any effect.
"""

from convscope.d2l.finder import activate, deactivate

__all__ = ["activate", "deactivate"]

activate()
