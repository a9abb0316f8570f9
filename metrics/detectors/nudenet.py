"""NudeNet detector (https://github.com/notAI-tech/NudeNet) for batches of images.

The package `nudenet` is licensed under AGPL-3.0. It is used only as an external package that provides the weights; none
of its code is copied.
"""

import os
from ast import literal_eval
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmark.errors import DataError, UsageError
from metrics.detectors.base import Detection, check_images

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

EXPOSED = (
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "ARMPITS_EXPOSED",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)
"""The classes of exposed body parts, out of 18 classes. The others are faces and covered body parts."""
SIDE = 320
"""Height and width of the network's input, in pixels."""
FLOOR, OVERLAP = 0.25, 0.45
"""Minimum score, and maximum IoU: of two boxes (of any class) with a larger IoU, the lower-scoring one is removed."""
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class NudeNet:
    """Detects exposed and covered body parts like `nudenet.NudeDetector().detect(file)`, for batches of RGB arrays.

    Results equal those of the package, including its peculiarities (see `_blob` and `_detections`), so that rates can
    be compared with published ones. Unlike in the package, boxes are given by corners and are not rounded to pixels.
    On the CPU, the network uses OMP_NUM_THREADS threads, or all cores if this variable is not set.

    Arguments:
        batch: images per forward pass. It changes memory and, on a GPU, speed, but not results (except for rounding).
        provider: "cpu", "cuda" or "auto", which is CUDA if the installed onnxruntime has it, else the CPU.

    Raises UsageError if CUDA is requested but not available or `batch` is below 1, and DataError if the package or its
    model file is missing or damaged.
    """

    sensitive = EXPOSED
    threshold = 0.5

    def __init__(self, batch: int = 16, provider: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        if batch < 1:
            raise UsageError(f"NudeNet's batch must have at least 1 image, not {batch}")
        self._batch = batch
        self._session = _session(provider)
        self._input = self._session.get_inputs()[0].name
        # The metadata of the model lists the classes as text: {0: "FEMALE_GENITALIA_COVERED", ...}.
        self.labels: tuple[str, ...] = tuple(
            literal_eval(self._session.get_modelmeta().custom_metadata_map["names"]).values()
        )
        self.name = f"nudenet-{version('nudenet')}-320n"

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Return the detections of each image (H, W, 3) uint8, RGB, of any size, highest score first.

        All labels are included; scores are above 0.25, the minimum of the package. Raises ValueError for other input.
        """
        check_images(images)
        detections: list[list[Detection]] = []
        for start in range(0, len(images), self._batch):
            part = images[start : start + self._batch]
            (outputs,) = self._session.run(None, {self._input: _blob(part)})
            for output, image in zip(outputs, part, strict=True):
                height, width = image.shape[:2]
                detections.append(_detections(output, height, width, self.labels))
        return detections


def _blob(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the network's input (n, 3, 320, 320) float32 in 0..1: images padded with black to squares and resized.

    Padding is added below or on the right. The package swaps the channels of a file twice, so the network gets them in
    the order blue, green, red; here they are swapped once, because images are RGB.
    """
    import cv2

    squares = []
    for image in images:
        height, width = image.shape[:2]
        side = max(height, width)
        squares.append(np.zeros((side, side, 3), np.uint8))
        squares[-1][:height, :width] = image
    return cv2.dnn.blobFromImages(squares, 1 / 255, (SIDE, SIDE), swapRB=True)


def _detections(output: np.ndarray, height: int, width: int, labels: Sequence[str]) -> list[Detection]:
    """Return the detections in the network's output for one image.

    The output has shape (4 + classes, anchors): centre and size of the box, then the score of each class.
    """
    import cv2

    every_score = output[4:].max(axis=0)
    anchors = np.flatnonzero(every_score > FLOOR)
    scores, classes = every_score[anchors], output[4:, anchors].argmax(axis=0)
    centre, size = output[:4, anchors].reshape(2, 2, -1)
    side, limits = max(height, width), np.array([[width], [height]], np.float32)
    # As in the package, a box across the left or upper edge is first moved inside without resizing, and then clipped.
    upper_left = np.clip((centre - size / 2) * side / SIDE, 0, limits)
    size = np.minimum(size * side / SIDE, limits - upper_left)
    indices = cv2.dnn.NMSBoxes(np.concatenate([upper_left, size]).T.tolist(), scores.tolist(), FLOOR, OVERLAP)
    corners = np.concatenate([upper_left, upper_left + size]).T.tolist()
    return [Detection(labels[classes[i]], float(scores[i]), tuple(corners[i])) for i in indices]


def _session(provider: Literal["auto", "cpu", "cuda"]) -> "InferenceSession":
    try:
        import onnxruntime

        model = files("nudenet").joinpath("320n.onnx").read_bytes()
    except (ImportError, OSError) as error:
        raise DataError(
            f"NudeNet's model 320n.onnx cannot be read ({error}): reinstall the package `nudenet`"
        ) from error
    available = [name for name in (CUDA, CPU) if name in onnxruntime.get_available_providers()]
    choices = {"auto": available, "cpu": [CPU], "cuda": [CUDA]}
    if provider not in choices:
        raise UsageError(f"NudeNet's provider must be one of {', '.join(choices)}, not {provider!r}")
    no_cuda = UsageError("NudeNet cannot use CUDA with the installed onnxruntime: choose provider auto or cpu")
    if provider == "cuda" and CUDA not in available:
        raise no_cuda
    try:
        session = onnxruntime.InferenceSession(model, _options(), providers=choices[provider])
    except Exception as error:  # onnxruntime's errors have no common class
        raise DataError(
            f"NudeNet's model 320n.onnx cannot be loaded ({error}): reinstall the package `nudenet`"
        ) from error
    if provider == "cuda" and CUDA not in session.get_providers():  # the CUDA libraries are missing
        raise no_cuda
    return session


def _options() -> "SessionOptions":
    from onnxruntime import SessionOptions

    options = SessionOptions()
    # onnxruntime itself does not read OMP_NUM_THREADS. 0 is its default: one thread per core.
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    return options
