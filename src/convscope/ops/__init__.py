"""What a convolution is: the same operators twice, once to read and once to use.

``reference``  the definitions, in loops
``fast``       the same names, vectorised and differentiable; what this package offers itself
``geometry``   sizes, positions, receptive fields and parameter counts
``filters``    kernels that have a name
"""

from convscope.ops import fast, filters, geometry, reference
from convscope.ops.fast import (
    conv2d,
    conv_as_matrix,
    conv_transpose2d,
    corr2d,
    corr2d_multi_in,
    corr2d_multi_in_out,
    corr2d_multi_in_out_1x1,
    cross_correlate,
    cross_correlate_input_grad,
    cross_correlate_kernel_grad,
    fold,
    global_pool2d,
    max_pool2d_backward_recomputed,
    max_pool2d_backward_stashed,
    max_pool2d_with_indices,
    pool2d,
    unfold,
)

__all__ = [
    "conv2d",
    "conv_as_matrix",
    "conv_transpose2d",
    "corr2d",
    "corr2d_multi_in",
    "corr2d_multi_in_out",
    "corr2d_multi_in_out_1x1",
    "cross_correlate",
    "cross_correlate_input_grad",
    "cross_correlate_kernel_grad",
    "fast",
    "filters",
    "fold",
    "geometry",
    "global_pool2d",
    "max_pool2d_backward_recomputed",
    "max_pool2d_backward_stashed",
    "max_pool2d_with_indices",
    "pool2d",
    "reference",
    "unfold",
]
