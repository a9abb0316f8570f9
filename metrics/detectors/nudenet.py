"""NudeNet (https://github.com/notAI-tech/NudeNet), on whole batches.

`nudenet` is AGPL-3.0: it is called as an external package, for the weights that it ships, and none of it is copied.
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
"""The classes of bare skin, out of 18; the others are faces and what is covered."""
SIDE = 320
"""Side of the square that the network sees, in pixels."""
FLOOR, OVERLAP = 0.25, 0.45
"""Detections score more than the floor, and none covers a better one by a larger IoU, whatever their classes."""
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class NudeNet:
    """The detections of `nudenet.NudeDetector().detect(file)`, from RGB arrays and many at a time.

    Made to give the package's own figures, its peculiarities included (see `_blob` and `_detections`), so that rates
    compare with those that others made by the package; unlike there, boxes are corners and not cut to whole pixels.

    Arguments:
        batch: images a forward pass; changes memory and, on a GPU, speed, but not results (up to rounding).
        provider: what computes: "cpu", "cuda", or "auto": CUDA where the installed onnxruntime has it, else the CPU.

    On the CPU it takes as many threads as OMP_NUM_THREADS says, or all cores where that is not set. UsageError for CUDA
    where there is none or a batch without images, DataError where the package or its model file is missing or damaged.
    """

    sensitive = EXPOSED
    threshold = 0.5

    def __init__(self, batch: int = 16, provider: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        if batch < 1:
            raise UsageError(f"NudeNet's batch must be at least 1 image, not {batch}")
        self._batch = batch
        self._session = _session(provider)
        self._input = self._session.get_inputs()[0].name
        # The weights bring their classes along: {0: "FEMALE_GENITALIA_COVERED", ...} as text.
        self.labels: tuple[str, ...] = tuple(
            literal_eval(self._session.get_modelmeta().custom_metadata_map["names"]).values()
        )
        self.name = f"nudenet-{version('nudenet')}-320n"

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Images (H, W, 3) uint8, RGB, of any sizes -> for each its detections, highest score first.

        No label is left out; scores are above 0.25, the package's floor. ValueError for other input.
        """
        check_images(images)
        found: list[list[Detection]] = []
        for start in range(0, len(images), self._batch):
            part = images[start : start + self._batch]
            (outputs,) = self._session.run(None, {self._input: _blob(part)})
            for output, image in zip(outputs, part, strict=True):
                height, width = image.shape[:2]
                found.append(_detections(output, height, width, self.labels))
        return found


def _blob(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images as the network wants them, (n, 3, 320, 320) float32, 0..1: made square by black below or at the right.

    Channels are blue, green, red, since the package swaps those of a file twice: OpenCV's order reaches the network.
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
    """What the network said of one image, (4 + classes, anchors) float32: centre, size and scores -> its detections."""
    import cv2

    every_score = output[4:].max(axis=0)
    anchors = np.flatnonzero(every_score > FLOOR)
    scores, classes = every_score[anchors], output[4:, anchors].argmax(axis=0)
    centre, size = output[:4, anchors].reshape(2, 2, -1)
    side, limits = max(height, width), np.array([[width], [height]], np.float32)
    # As in the package, a box over the left or upper edge is moved inside at its full size, and only then cut.
    upper_left = np.clip((centre - size / 2) * side / SIDE, 0, limits)
    size = np.minimum(size * side / SIDE, limits - upper_left)
    kept = cv2.dnn.NMSBoxes(np.concatenate([upper_left, size]).T.tolist(), scores.tolist(), FLOOR, OVERLAP)
    corners = np.concatenate([upper_left, upper_left + size]).T.tolist()
    return [Detection(labels[classes[i]], float(scores[i]), tuple(corners[i])) for i in kept]


def _session(provider: Literal["auto", "cpu", "cuda"]) -> "InferenceSession":
    try:
        import onnxruntime

        model = files("nudenet").joinpath("320n.onnx").read_bytes()
    except (ImportError, OSError) as error:
        raise DataError(f"NudeNet's model 320n.onnx cannot be read ({error}): install `nudenet` again") from error
    there = [name for name in (CUDA, CPU) if name in onnxruntime.get_available_providers()]
    choices = {"auto": there, "cpu": [CPU], "cuda": [CUDA]}
    if provider not in choices:
        raise UsageError(f"NudeNet's provider is one of {', '.join(choices)}, not {provider!r}")
    no_cuda = UsageError("NudeNet finds no CUDA that works in the installed onnxruntime: choose provider auto or cpu")
    if provider == "cuda" and CUDA not in there:
        raise no_cuda
    try:
        session = onnxruntime.InferenceSession(model, _options(), providers=choices[provider])
    except Exception as error:  # onnxruntime's errors have no class in common
        raise DataError(f"NudeNet's model 320n.onnx cannot be used ({error}): install `nudenet` again") from error
    if provider == "cuda" and CUDA not in session.get_providers():  # built in, but the libraries that it needs are not
        raise no_cuda
    return session


def _options() -> "SessionOptions":
    from onnxruntime import SessionOptions

    options = SessionOptions()
    # onnxruntime does not read the variable; 0 is its own default, a thread a core.
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    return options
