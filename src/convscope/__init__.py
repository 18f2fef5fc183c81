"""Read a convolution, measure a network, train it fast, see inside it, ship it.

The packages are floors of a house, and imports point down only (``docs/architecture.md``):

``ops``     what a convolution is
``data``    images in, batches out
``nn``      layers, blocks, initialisers
``models``  one file per family, one registry
``train``   the loop: batches in, weights out
``measure`` numbers about any ``nn.Module``
``deploy``  a finished run put to work
``report``  figures and the HTML report
``cli``     the verbs of ``convscope``

Shapes are written with four letters everywhere: ``N`` images in a batch, ``C`` channels, ``H`` rows, ``W`` columns.
Importing this package loads nothing else; ``from convscope import data, models, train`` loads PyTorch.
"""

__version__ = "0.1.0"
