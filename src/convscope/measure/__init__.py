"""Numbers about any ``nn.Module``.

Shapes: ``N`` images, ``C`` channels, ``H`` rows and ``W`` columns of pixels, ``K`` classes. ``images`` are uint8 and
come with a ``Preprocess``; ``inputs`` are the floats that the network sees. A model is used on the device where it is,
in eval mode, and left as it was.

What costs a second to load (SciPy, scikit-learn) is loaded when one of its names is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convscope.measure.lint import Finding, lint
from convscope.measure.receptive import LayerField, Region, receptive_field
from convscope.measure.rows import Row
from convscope.measure.summary import Summary, summary
from convscope.measure.tracing import Trace, trace

if TYPE_CHECKING:
    from convscope.measure.attribution import GradCam, grad_cam, input_gradients
    from convscope.measure.borders import BorderEffect, border_effect, path_counts, ring_means
    from convscope.measure.changes import Response, sensitivity
    from convscope.measure.comparison import Comparison, compare
    from convscope.measure.covering import Occlusion, occlusion
    from convscope.measure.effective import EffectiveField, effective_receptive_field
    from convscope.measure.evaluation import ClassScore, Evaluation, Mistake, evaluate, predict
    from convscope.measure.features import activations, filters
    from convscope.measure.intervals import Mean, Share, wilson
    from convscope.measure.patches import Patch, TopPatches, top_patches
    from convscope.measure.probes import Probe, effective_rank, linear_probes
    from convscope.measure.reliability import Bin, Calibration, calibration
    from convscope.measure.shift import LayerEquivariance, ShiftConsistency, equivariance_error, shift_consistency

_LATER = {
    "attribution": ("GradCam", "grad_cam", "input_gradients"),
    "borders": ("BorderEffect", "border_effect", "path_counts", "ring_means"),
    "changes": ("Response", "sensitivity"),
    "comparison": ("Comparison", "compare"),
    "covering": ("Occlusion", "occlusion"),
    "effective": ("EffectiveField", "effective_receptive_field"),
    "evaluation": ("ClassScore", "Evaluation", "Mistake", "evaluate", "predict"),
    "features": ("activations", "filters"),
    "intervals": ("Mean", "Share", "wilson"),
    "patches": ("Patch", "TopPatches", "top_patches"),
    "probes": ("Probe", "effective_rank", "linear_probes"),
    "reliability": ("Bin", "Calibration", "calibration"),
    "shift": ("LayerEquivariance", "ShiftConsistency", "equivariance_error", "shift_consistency"),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


__all__ = [
    "Bin",
    "BorderEffect",
    "Calibration",
    "ClassScore",
    "Comparison",
    "EffectiveField",
    "Evaluation",
    "Finding",
    "GradCam",
    "LayerEquivariance",
    "LayerField",
    "Mean",
    "Mistake",
    "Occlusion",
    "Patch",
    "Probe",
    "Region",
    "Response",
    "Row",
    "Share",
    "ShiftConsistency",
    "Summary",
    "TopPatches",
    "Trace",
    "activations",
    "border_effect",
    "calibration",
    "compare",
    "effective_rank",
    "effective_receptive_field",
    "equivariance_error",
    "evaluate",
    "filters",
    "grad_cam",
    "input_gradients",
    "linear_probes",
    "lint",
    "occlusion",
    "path_counts",
    "predict",
    "receptive_field",
    "ring_means",
    "sensitivity",
    "shift_consistency",
    "summary",
    "top_patches",
    "trace",
    "wilson",
]
