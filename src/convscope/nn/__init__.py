"""Layers, blocks and initialisers."""

from convscope.nn.init import xavier_uniform

__all__ = ["xavier_uniform"]
