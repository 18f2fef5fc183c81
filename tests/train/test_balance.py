import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from convscope.train.balance import class_weights


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any))
def test_weights_are_scikit_learns_and_an_image_weighs_one_on_average(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    present = np.unique(labels)
    expected = np.zeros(len(counts))
    expected[present] = compute_class_weight("balanced", classes=present, y=labels)
    weights = class_weights(counts)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    assert weights[torch.from_numpy(labels)].double().mean() == pytest.approx(1, rel=1e-6)


def test_known_weights_and_nonsense():
    assert class_weights([50, 50]).tolist() == [1, 1]
    assert class_weights([90, 0, 10]).tolist() == pytest.approx([5 / 9, 0, 5])
    for counts in ([], [0, 0], [-1, 3]):
        with pytest.raises(ValueError, match="expected the number of images of each class"):
            class_weights(counts)
