"""What every test shares."""

import torch
from hypothesis import HealthCheck, settings

# The same two hundred cases of a property in every run; a busy machine is not a failure.
settings.register_profile(
    "checks", max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("checks")

# Tensors in tests are tiny: two threads that wait for each other are slower than one.
torch.set_num_threads(1)
