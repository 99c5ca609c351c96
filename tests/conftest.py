"""Every test runs on the CPU, off screen, with TensorFlow's start-up log off."""

import os

from hypothesis import settings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# Property tests draw new examples on a developer's machine, and the same ones where a change is judged.
settings.register_profile("everywhere", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("everywhere")
