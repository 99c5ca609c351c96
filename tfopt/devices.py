"""Where and how TensorFlow computes: CPU or GPU, memory growth, precision, determinism, several devices."""

import contextlib
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfopt._cuda import missing_libraries, remedy
from tfopt.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["DeviceReport", "configure", "strategy"]

_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Compute capability from which a GPU has units for the precision.
_LEAST_CAPABILITY = {"mixed_float16": (7, 0), "mixed_bfloat16": (8, 0)}
_logger = logging.getLogger("tfopt")
CORES = "TFOPT_CORES"  # the environment variable with the share of a worker process
_is_deterministic = False  # TensorFlow does not say


@dataclass(frozen=True)
class DeviceReport:
    """The devices, the precision and the determinism that `configure` has set.

    Args:
        requested: The device that was asked for.
        kind: `"cpu"` or `"gpu"`: where the work will run.
        names: The devices in use, with the maker's name where TensorFlow knows it.
        memory_growth: Whether every GPU in use takes memory as it needs it; False on the CPU, which always does.
        precision: The Keras dtype policy in force.
        deterministic: Whether TensorFlow was restricted to reproducible kernels.

    Example:
        ```python
        print(tfopt.devices.configure("cpu").precision)  # float32
        ```
    """

    requested: str
    kind: str
    names: tuple[str, ...]
    memory_growth: bool
    precision: str
    deterministic: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report, JSON-safe."""
        return dataclasses.asdict(self) | {"names": list(self.names)}


def configure(
    device: str = "auto", precision: str = "float32", deterministic: bool = False, seed: int | None = None
) -> DeviceReport:
    """Choose the device, the precision and the determinism of everything that this process computes.

    Call it before TensorFlow computes anything, best before it is imported: then unused GPUs are hidden by
    `CUDA_VISIBLE_DEVICES` and no memory is touched on them. GPUs in use take memory as they need it, so that several
    processes can share one. A GPU that was asked for and is not there is an error; the work never moves to the CPU
    in silence.

    Args:
        device: `"auto"` (all GPUs, else the CPU), `"cpu"`, `"gpu"` (all GPUs), `"gpu:1"` or `"gpu:0,1"`. Numbers
            count within `CUDA_VISIBLE_DEVICES` where that is set.
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`: Keras's global dtype policy.
        deterministic: Whether operations must give the same bits every time, which is slower and needs a seed; 0 is
            used if `seed` is None.
        seed: Seed of Python, NumPy and Keras; None leaves them alone.

    Returns:
        The devices, the precision and the determinism that are now in force.

    Raises:
        UserError: An unknown device or precision, or a GPU that is not there.
        RuntimeError: TensorFlow has computed something already, on devices that are not the ones asked for.

    Example:
        ```python
        print(tfopt.devices.configure("cpu", seed=0).kind)  # cpu
        ```
    """
    numbers = _parse(device)
    if precision not in _PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(_PRECISIONS)}. Received: {precision}.")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(f"the environment says KERAS_BACKEND={backend}, and tfopt needs tensorflow. Unset it.")
    hidden = _hide_gpus(device, numbers) if "tensorflow" not in sys.modules else False

    import keras
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        chosen = []
    elif numbers is None or hidden:
        chosen = found
    else:
        chosen = [gpu for number, gpu in enumerate(found) if number in numbers]
    asked = 0 if device in ("auto", "cpu") else 1 if numbers is None else len(numbers)
    if len(chosen) < asked:
        raise UserError(_absent(device, len(found), hidden, tf.test.is_built_with_cuda()))
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError as error:
        raise RuntimeError(
            f"TensorFlow has already started with {len(found)} GPUs, so device {device!r} comes too late. "
            "Call tfopt.devices.configure before the first tensor is made."
        ) from error
    grown = [_grow(tf, gpu) for gpu in chosen]
    _warn_about_precision(tf, chosen, precision)

    keras.config.set_dtype_policy(precision)
    if seed is not None or deterministic:
        keras.utils.set_random_seed(seed or 0)
    if deterministic:
        _make_deterministic()
    in_use = chosen or tf.config.list_physical_devices("CPU")
    return DeviceReport(
        requested=device,
        kind="gpu" if chosen else "cpu",
        names=tuple(_describe(tf, physical) for physical in in_use),
        memory_growth=bool(grown) and all(grown),
        precision=precision,
        deterministic=deterministic,
    )


def strategy(devices: Sequence[str] | None = None) -> "tf.distribute.Strategy":
    """Return the strategy that trains one model on several devices at once.

    Each batch is divided among the devices and the gradients are averaged. It pays for large models and batches; many
    small models are better trained side by side on one device.

    Args:
        devices: Logical devices such as `["GPU:0", "GPU:1"]`; None for every GPU in use.

    Raises:
        UserError: A device that TensorFlow does not have.

    Example:
        ```python
        with tfopt.devices.strategy().scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile(loss="mse")
        ```
    """
    import tensorflow as tf

    available = [logical.name.removeprefix("/device:") for logical in tf.config.list_logical_devices()]
    if devices is None:
        devices = [name for name in available if name.startswith("GPU")]
    devices = [name.upper() for name in devices]
    for name in devices:
        if name not in available:
            raise UserError(f"no device {name}. TensorFlow has: {', '.join(available)}.")
    if not devices:
        return tf.distribute.get_strategy()
    if len(devices) == 1:
        return tf.distribute.OneDeviceStrategy(f"/device:{devices[0]}")
    return tf.distribute.MirroredStrategy([f"/device:{name}" for name in devices])


def num_cores() -> int:
    """Return the cores that this process may use: its share where it is one of several workers."""
    share = os.environ.get(CORES)
    if share:
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """Return the version of a package; None where it is not installed. TensorFlow has a second name."""
    from importlib import metadata  # which the command line's `--help` does without

    for name in (package, f"{package}-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def free_ram() -> int | None:
    """Return the bytes of memory that the machine has free; None where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next((1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable")), None)
    except OSError:
        return None


def shares_batches() -> bool:
    """Return whether this process has several GPUs, among which each batch of a model is divided."""
    import tensorflow as tf

    return len(tf.config.list_logical_devices("GPU")) > 1


def on_every_gpu(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return `build` such that Keras trains its model on all GPUs in use, each with a part of every batch."""

    def mirrored(*args: Any, **kwargs: Any) -> Any:
        with strategy().scope():
            return build(*args, **kwargs)

    return mirrored


def one_each(device: str, num_processes: int) -> tuple[str, list[str]]:
    """Return how GPUs are divided among processes that have one each.

    Args:
        device: As for `configure`, which is to be called afterwards.
        num_processes: How many there may be. A single one has all GPUs that `device` names, and trains each model on
            all of them.

    Returns:
        The device of this process, for `configure`; and what `CUDA_VISIBLE_DEVICES` is for each process, this one
        first. On the CPU the list is empty.
    """
    numbers = _parse(device)
    if device == "cpu" or (num_processes == 1 and device != "auto"):
        return device, []
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    numbers = tuple(range(found)) if numbers is None else numbers
    if not numbers or max(numbers) >= found:
        return device, []  # `configure` says what is absent
    names = _visible() or [str(number) for number in range(found)]
    return f"gpu:{numbers[0]}", [names[number] for number in numbers]


def keras_settings() -> dict[str, Any]:
    """Return what this process computes with: what another one has to be given to compute the same."""
    import keras

    return {
        "floatx": keras.config.floatx(),
        "dtype_policy": keras.config.dtype_policy().name,
        "image_data_format": keras.config.image_data_format(),
        "deterministic": _is_deterministic,
    }


def set_keras_settings(settings: Mapping[str, Any]) -> None:
    """Make this process compute with what `keras_settings` returned in another one."""
    import keras

    if settings == keras_settings():
        return
    keras.config.set_floatx(settings["floatx"])
    keras.config.set_dtype_policy(settings["dtype_policy"])
    keras.config.set_image_data_format(settings["image_data_format"])
    if settings["deterministic"]:
        _make_deterministic()


def _make_deterministic() -> None:
    global _is_deterministic
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    _is_deterministic = True


def _parse(device: str) -> tuple[int, ...] | None:
    """Return the numbers of the GPUs asked for; None for all or for none."""
    match = re.fullmatch(r"auto|cpu|gpu(?::(\d+(?:,\d+)*))?", device)
    if not match:
        raise UserError(f"device must be auto, cpu, gpu, gpu:N or gpu:N,M. Received: {device}.")
    if match[1] is None:
        return None
    numbers = tuple(int(number) for number in match[1].split(","))
    if len(set(numbers)) < len(numbers):
        raise UserError(f"device {device} names a GPU twice.")
    return numbers


def _hide_gpus(device: str, numbers: tuple[int, ...] | None) -> bool:
    """Set `CUDA_VISIBLE_DEVICES` to the GPUs asked for; True when what TensorFlow will list is then just these."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return True
    if numbers is None:
        return False
    names = _visible()
    if names is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, numbers))
        return True
    if max(numbers) >= len(names):
        return False  # absent: TensorFlow's own list will show it
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[number] for number in numbers)
    return True


def _visible() -> list[str] | None:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` names; None where it is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if visible is None else [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]


def _absent(device: str, num_found: int, hidden: bool, built_with_cuda: bool) -> str:
    if not built_with_cuda:
        return (
            f"no GPU for device {device}: this TensorFlow is built for the CPU. Install tfopt[gpu], or use device cpu."
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = f" (CUDA_VISIBLE_DEVICES={visible})" if visible is not None and not hidden else ""
    seen = f"TensorFlow sees {num_found or 'none'}{where}"
    missing = [] if num_found else missing_libraries()
    cause = f"It cannot load {', '.join(missing)}. {remedy(missing)}" if missing else "Check `nvidia-smi`"
    return f"no GPU for device {device}: {seen}. {cause}, or use device cpu."


def _grow(tensorflow: Any, gpu: Any) -> bool:
    if tensorflow.config.experimental.get_memory_growth(gpu):
        return True
    try:
        tensorflow.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError) as error:  # already started, or divided into logical devices
        _logger.warning("%s takes its memory all at once: %s", gpu.name, error)
        return False
    return True


def _warn_about_precision(tensorflow: Any, gpus: Sequence[Any], precision: str) -> None:
    needed = _LEAST_CAPABILITY.get(precision)
    if needed is None:
        return
    if not gpus:
        _logger.warning("precision %s is slower than float32 on a CPU", precision)
    for gpu in gpus:
        capability = tensorflow.config.experimental.get_device_details(gpu).get("compute_capability", needed)
        if capability < needed:
            _logger.warning("%s has no units for %s, so it gains nothing", _describe(tensorflow, gpu), precision)


def _describe(tensorflow: Any, device: Any) -> str:
    short = device.name.removeprefix("/physical_device:")
    details = tensorflow.config.experimental.get_device_details(device) if device.device_type == "GPU" else {}
    return f"{short} {details['device_name']}" if "device_name" in details else short
