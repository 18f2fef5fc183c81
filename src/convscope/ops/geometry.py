"""Sizes and positions: how large an output is, where a kernel looks, how many numbers are learned.

Nothing here touches a tensor. What is said for one axis counts pixels; what is said for two is ``(H, W)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.ops._arguments import Padding, Pair, Sides, flag, integer, pair, sides

__all__ = [
    "ParameterCount",
    "ReceptiveField",
    "effective_kernel",
    "output_length",
    "output_size",
    "parameters_dense_to_conv",
    "receptive_field",
    "same_padding",
]


def effective_kernel(kernel_size: int, dilation: int = 1) -> int:
    """The pixels that a dilated kernel spans on one axis, holes included: ``d (k - 1) + 1``.

    Example:
        >>> effective_kernel(3, dilation=2)
        5
    """
    return integer("dilation", dilation, least=1) * (integer("kernel_size", kernel_size, least=1) - 1) + 1


def output_length(
    length: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: Pair = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """How many positions a kernel has on one axis.

    Args:
        length: Pixels of the input.
        kernel_size: Taps of the kernel.
        stride: Pixels from one position to the next.
        padding: Pixels added on each side, or ``(before, after)``.
        dilation: Pixels from one tap to the next.
        ceil_mode: Count a last, incomplete window too. As in PyTorch it must start inside the input or in the
            padding before it: a window that would see nothing but padding at the far end does not count.

    Returns:
        ``floor((length + before + after - d (k - 1) - 1) / stride) + 1``, or the same rounded up.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is too small, or the kernel does not fit into the padded input.

    Example:
        >>> output_length(28, 5, padding=2), output_length(8, 5, stride=4, padding=1)
        (28, 2)
        >>> output_length(5, 2, stride=2), output_length(5, 2, stride=2, ceil_mode=True)
        (2, 3)
    """
    integer("length", length, least=1)
    integer("stride", stride, least=1)
    before, after = pair("padding", padding, least=0)
    span = effective_kernel(kernel_size, dilation)
    room = length + before + after - span  # how far the kernel can slide
    count = room // stride + 1
    if flag("ceil_mode", ceil_mode):
        count = -(-room // stride) + 1
        if (count - 1) * stride >= length + before:
            count -= 1
    if count < 1:
        raise ValueError(
            f"kernel_size {kernel_size} with dilation {dilation} spans {span} pixels, "
            f"more than the padded input has: {before} + {length} + {after}; add padding or take a smaller kernel"
        )
    return count


def output_size(
    input_size: Pair,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[int, int]:
    """``(H, W)`` of what a convolution or a pooling makes; the rule of ``output_length`` on both axes.

    Args:
        input_size: ``(H, W)`` in pixels.
        kernel_size: ``(H, W)`` in taps.
        stride: Pixels from one position to the next.
        padding: Pixels; one number, ``(H, W)``, or ``((top, bottom), (left, right))``.
        dilation: Pixels from one tap to the next.
        ceil_mode: Count a last, incomplete window too.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is too small, or the kernel does not fit into the padded input.

    Example:
        >>> output_size((8, 8), (3, 5), stride=(3, 4), padding=(0, 1))
        (2, 2)
    """
    lengths, taps = pair("input_size", input_size, least=1), pair("kernel_size", kernel_size, least=1)
    strides, dilations = pair("stride", stride, least=1), pair("dilation", dilation, least=1)
    height, width = (
        output_length(n, k, stride=s, padding=p, dilation=d, ceil_mode=ceil_mode)
        for n, k, s, p, d in zip(lengths, taps, strides, sides("padding", padding), dilations, strict=True)
    )
    return height, width


def same_padding(kernel_size: Pair, *, dilation: Pair = 1) -> Sides:
    """The padding that keeps the size at stride 1; an odd pixel goes to the bottom and to the right, as in PyTorch.

    Args:
        kernel_size: ``(H, W)`` in taps.
        dilation: Pixels from one tap to the next.

    Returns:
        ``((top, bottom), (left, right))`` in pixels.

    Example:
        >>> same_padding(3), same_padding((2, 4))
        (((1, 1), (1, 1)), ((0, 1), (1, 2)))
    """
    taps, dilations = pair("kernel_size", kernel_size, least=1), pair("dilation", dilation, least=1)
    rows, columns = (effective_kernel(k, d) - 1 for k, d in zip(taps, dilations, strict=True))
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


@dataclass(frozen=True)
class ReceptiveField:
    """What one unit of a layer sees of the input, on one axis. The default is the input itself.

    Args:
        size: Pixels that a unit sees.
        jump: Pixels between what two neighbouring units see.
        padding: Pixels by which the first unit's region begins before the image.

    Example:
        >>> lenet = receptive_field(5, padding=2).then(receptive_field(2, stride=2)).then(receptive_field(5))
        >>> lenet, lenet.region(0)
        (ReceptiveField(size=14, jump=2, padding=2), (-2, 11))

    Source:
        Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill, 2019.
    """

    size: int = 1
    jump: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        integer("size", self.size, least=1)
        integer("jump", self.jump, least=1)
        integer("padding", self.padding, least=0)

    @property
    def start(self) -> int:
        """The first pixel that unit 0 sees; negative inside the padding."""
        return -self.padding

    @property
    def centre(self) -> float:
        """The pixel in the middle of what unit 0 sees."""
        return self.start + (self.size - 1) / 2

    def then(self, layer: ReceptiveField) -> ReceptiveField:
        """What a unit of ``layer`` sees of this one's input, when ``layer`` reads this one's output."""
        return ReceptiveField(
            self.size + (layer.size - 1) * self.jump,
            self.jump * layer.jump,
            self.padding + layer.padding * self.jump,
        )

    def union(self, other: ReceptiveField) -> ReceptiveField:
        """What a unit sees that adds or joins two branches.

        Raises:
            ValueError: The branches advance by different steps, so their units do not meet.
        """
        if self.jump != other.jump:
            raise ValueError(
                f"branches must have the same jump to be joined, got {self.jump} and {other.jump}; "
                "give both the same total stride"
            )
        end = max(self.start + self.size, other.start + other.size)
        padding = max(self.padding, other.padding)
        return ReceptiveField(end + padding, self.jump, padding)

    def region(self, unit: int) -> tuple[int, int]:
        """The first and the last pixel that a unit sees; outside ``0 .. length - 1`` lies padding."""
        first = self.start + unit * self.jump
        return first, first + self.size - 1


def receptive_field(kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> ReceptiveField:
    """The field of a single layer on one axis; chain layers with ``then``, from the input on.

    Example:
        >>> three = receptive_field(3)
        >>> three.then(three).size, three.then(three).then(three).size
        (5, 7)
    """
    return ReceptiveField(effective_kernel(kernel_size, dilation), stride, padding)


@dataclass(frozen=True)
class ParameterCount:
    """One rung of the ladder from a dense layer to a convolution.

    Args:
        name: What was done.
        weights: Learned numbers, exactly, biases not counted.
        biases: Learned offsets.
        approximation: The round figure that textbooks give for ``weights``.
        formula: Where ``weights`` comes from; ``C`` channels in, ``O`` channels out, ``D`` the offset ``delta``.
    """

    name: str
    weights: int
    biases: int
    approximation: int
    formula: str


def parameters_dense_to_conv(
    height: int = 1000,
    width: int = 1000,
    *,
    delta: int = 9,
    hidden_units: int = 1000,
    in_channels: int = 1,
    out_channels: int = 1,
) -> tuple[ParameterCount, ...]:
    """How two assumptions turn a dense layer into a convolution: the same weights everywhere, and only nearby pixels.

    Args:
        height: ``H`` of the image in pixels.
        width: ``W`` of the image in pixels.
        delta: The largest offset, in pixels, at which a pixel still counts; the kernel has ``2 delta + 1`` taps a side.
        hidden_units: Outputs of the first rung, a dense layer that is no image any more.
        in_channels: ``C`` of the image.
        out_channels: ``O`` of the hidden image.

    Returns:
        Four rungs: dense to ``hidden_units``, dense to an image, weights shared, weights shared and local.

    Example:
        >>> for rung in parameters_dense_to_conv(delta=9):
        ...     print(f"{rung.name:22} {rung.weights:>17,} {rung.approximation:>17,}  {rung.formula}")
        dense to hidden units      1,000,000,000     1,000,000,000  C H W x units
        dense to an image      1,000,000,000,000 1,000,000,000,000  C H W x O H W
        weights shared                 3,996,001         4,000,000  C O (2 H - 1) (2 W - 1)
        shared and local                     361               324  C O (2 D + 1)^2

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.1.
    """
    for argument, value in (("height", height), ("width", width), ("hidden_units", hidden_units)):
        integer(argument, value, least=1)
    integer("delta", delta, least=0)
    channels = integer("in_channels", in_channels, least=1) * integer("out_channels", out_channels, least=1)
    pixels = height * width
    units, dense = in_channels * pixels * hidden_units, channels * pixels**2
    shared, local = channels * (2 * height - 1) * (2 * width - 1), channels * (2 * delta + 1) ** 2
    return (
        ParameterCount("dense to hidden units", units, hidden_units, units, "C H W x units"),
        ParameterCount("dense to an image", dense, out_channels * pixels, dense, "C H W x O H W"),
        ParameterCount("weights shared", shared, out_channels, 4 * channels * pixels, "C O (2 H - 1) (2 W - 1)"),
        ParameterCount("shared and local", local, out_channels, 4 * channels * delta**2, "C O (2 D + 1)^2"),
    )
