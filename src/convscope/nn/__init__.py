"""Layers, blocks and initialisers.

Shapes: ``N`` images in a batch, ``C`` channels, ``H`` rows, ``W`` columns. No block works in place and none uses one
activation module twice, so that a hook on any module sees one input and one output for each forward pass.
"""

from convscope.nn.activation import CReLU
from convscope.nn.attention import SqueezeExcitation
from convscope.nn.blocks import Inception, NiNBlock, vgg_block
from convscope.nn.conv import ConvNormAct
from convscope.nn.dense import DenseBlock, DenseLayer, Transition
from convscope.nn.ensemble import FlipAverage, unwrap
from convscope.nn.init import dirac, kaiming, undrawn_linear, xavier_uniform, zero_last_norm
from convscope.nn.pooling import AdaptivePolyphaseSampling, BlurPool
from convscope.nn.preactivation import PreActBottleneck, PreActResidual
from convscope.nn.residual import Bottleneck, Residual, ResNeXtBlock
from convscope.nn.scratch import Conv2D
from convscope.nn.shortcut import ZeroPadShortcut, make_shortcut

__all__ = [
    "AdaptivePolyphaseSampling",
    "BlurPool",
    "Bottleneck",
    "CReLU",
    "Conv2D",
    "ConvNormAct",
    "DenseBlock",
    "DenseLayer",
    "FlipAverage",
    "Inception",
    "NiNBlock",
    "PreActBottleneck",
    "PreActResidual",
    "ResNeXtBlock",
    "Residual",
    "SqueezeExcitation",
    "Transition",
    "ZeroPadShortcut",
    "dirac",
    "kaiming",
    "make_shortcut",
    "undrawn_linear",
    "unwrap",
    "vgg_block",
    "xavier_uniform",
    "zero_last_norm",
]
