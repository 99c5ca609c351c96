"""Why an NVIDIA card is not used: the libraries that TensorFlow loads for it, by name."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

# What TensorFlow loads beside the driver and cuDNN, by the major version of CUDA that it was built for.
_LIBRARIES = {
    12: ("cudart.so.12", "cublas.so.12", "cublasLt.so.12", "cufft.so.11", "cusolver.so.11", "cusparse.so.12"),
    13: ("cudart.so.13", "cublas.so.13", "cublasLt.so.13", "cufft.so.12", "cusolver.so.12", "cusparse.so.12"),
}
_DRIVER = "libcuda.so.1"
_CARDS = ("dev/nvidia[0-9]*", "proc/driver/nvidia/gpus/*")


def unused_card(root: str | Path = "/") -> str | None:
    """Return why an NVIDIA card of this machine is not among TensorFlow's devices; None if it is, or there is none.

    Args:
        root: Where the machine's files are.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU") or not any(any(Path(root).glob(pattern)) for pattern in _CARDS):
        return None
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built for the CPU. Install tfopt[gpu]"
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        return f"CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r}"
    missing = missing_libraries()
    if not missing:
        return "all libraries are there. With TF_CPP_MIN_LOG_LEVEL=0 TensorFlow says what it tried"
    return f"it cannot load {', '.join(missing)}. {remedy(missing)}"


def missing_libraries() -> list[str]:
    """Return the libraries that this TensorFlow needs for a GPU and that cannot be loaded, the driver's first."""
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    if not build.get("is_cuda_build"):
        return []
    major = int(build["cuda_version"].split(".")[0])
    names = [f"lib{name}" for name in (*_LIBRARIES.get(major, ()), f"cudnn.so.{build['cudnn_version']}")]
    packages = Path(tf.__file__).parents[1] / "nvidia"  # pip's, which TensorFlow looks into first
    return [name for name in (_DRIVER, *names) if not any(packages.glob(f"*/lib/{name}")) and not _loads(name)]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def remedy(missing: Sequence[str]) -> str:
    """Return what brings missing libraries."""
    wanted = [what for what, needed in (("NVIDIA's driver", _DRIVER in missing), ("tfopt[gpu]", {*missing} - {_DRIVER}))
              if needed]  # fmt: skip
    return f"Install {' and '.join(wanted)}"
