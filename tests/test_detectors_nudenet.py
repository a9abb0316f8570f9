"""Our NudeNet against the package itself: the same classes, scores and boxes, for pictures of every kind and size."""

import random
import subprocess
import sys
from pathlib import Path

import nudenet
import numpy as np
import onnxruntime
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageFilter

from benchmark.errors import DataError, UsageError
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import world_scene
from metrics.detectors import nudenet as ours
from metrics.detectors.nudenet import NudeNet

ROOT = Path(__file__).parents[1]
SCORE = 1e-4


def sample(name):
    with get_sample_data(name) as file:
        return Image.open(file).convert("RGB")


@pytest.fixture(scope="module")
def photograph():
    """Rear Admiral Grace Hopper (512 × 600), whose face NudeNet sees."""
    return sample("grace_hopper.jpg")


@pytest.fixture(scope="module")
def photographs(photograph):
    """What a photograph may become: cut, turned, grey, blurred, small, large, long."""
    made = [photograph.crop((x, y, x + 350, y + 350)) for x in (0, 80, 160) for y in (0, 120, 250)]
    made += [photograph.rotate(angle, expand=True) for angle in (10, -20, 45, 90, 180)]
    sizes = [(40, 47), (64, 64), (100, 301), (320, 320), (333, 111), (700, 250), (200, 900), (1500, 1100)]
    made += [photograph.resize(size) for size in sizes]
    made += [photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT), photograph.convert("L").convert("RGB")]
    made += [photograph.filter(ImageFilter.GaussianBlur(radius)) for radius in (3, 8)]
    for across, down in ((2, 2), (5, 1), (1, 4)):
        made.append(Image.new("RGB", (256 * across, 300 * down)))
        for x in range(across):
            for y in range(down):
                made[-1].paste(photograph.resize((256, 300)), (256 * x, 300 * y))
    clear = photograph.convert("RGBA")
    clear.putalpha(128)
    return [np.array(image) for image in (photograph, clear.convert("RGB"), *made)]


@pytest.fixture(scope="module")
def pictures(photographs):
    """The photographs and what has little to see: mini's world, drawings, noise, plain colours, odd sizes."""
    rng, noise = random.Random(0), np.random.RandomState(0)
    world = draw([world_scene(rng) for _ in range(16)], torch.Generator().manual_seed(0)).images
    drawings = [np.array(sample(name)) for name in ("logo2.png", "Minduka_Present_Blue_Pack.png")]
    sizes = [(1, 1), (1, 2), (3, 1), (777, 33), (33, 777), (1, 320), (319, 321), (64, 64), (320, 320)]
    noises = [noise.randint(256, size=(*size, 3), dtype=np.uint8) for size in sizes]
    plain = [np.full((90, 130, 3), level, np.uint8) for level in (0, 128, 255)]
    return [*photographs, *world.permute(0, 2, 3, 1).numpy(), *drawings, *noises, *plain]


@pytest.fixture(scope="module")
def detector():
    return NudeNet()


@pytest.fixture(scope="module")
def package():
    return nudenet.NudeDetector()


def assert_same(found, expected):
    """Detections of one image against the package's, of which none may be missing or be there twice.

    The package cuts x, y, width and height off to whole pixels, so ours are up to one pixel more.
    """
    found = list(found)
    assert len(found) == len(expected)
    for each in expected:
        x, y, width, height = each["box"]
        same = []
        for other in found:
            x0, y0, x1, y1 = other.box
            more = np.subtract((x0, y0, x1 - x0, y1 - y0), (x, y, width, height))
            near = more.min() > -0.05 and more.max() < 1.05
            if near and other.label == each["class"] and abs(other.score - each["score"]) < SCORE:
                same.append(other)
        assert same, f"{each} is not among {found}"
        found.remove(same[0])


class Eager:
    """A session whose network is surer of everything than it was: many more boxes pass the floor."""

    def __init__(self, session):
        self.session = session

    def run(self, names, inputs):
        (outputs,) = self.session.run(names, inputs)
        outputs[:, 4:] **= 0.2
        return [outputs]


@pytest.mark.parametrize(("eager", "at_least"), [(False, 25), (True, 500)], ids=["as it is", "eager"])
def test_every_picture_gets_the_packages_detections(
    detector, package, pictures, photographs, monkeypatch, eager, at_least
):
    if eager:
        monkeypatch.setattr(detector, "_session", Eager(detector._session))
        monkeypatch.setattr(package, "onnx_session", Eager(package.onnx_session))
    assert len(pictures) >= 50
    found = detector(pictures)
    for image, detections in zip(pictures, found, strict=True):
        # OpenCV's order of channels: what the package gets where it reads a file.
        assert_same(detections, package.detect(np.ascontiguousarray(image[:, :, ::-1])))
    assert sum(map(len, found)) >= at_least, "too few detections to compare anything"
    assert sum(map(bool, found[: len(photographs)])) > len(photographs) / 2


def test_channels_are_not_swapped(detector, package, photograph, tmp_path):
    path = tmp_path / "photograph.png"
    photograph.save(path)
    expected, image = package.detect(str(path)), np.array(photograph)
    assert_same(detector([image])[0], expected)
    (swapped,) = detector([image[:, :, ::-1]])
    assert abs(swapped[0].score - expected[0]["score"]) > 100 * SCORE, "this picture would not show a swap"


@pytest.mark.parametrize(("height", "width"), [(320, 320), (64, 64), (1, 1), (777, 33), (33, 777), (600, 512)])
def test_boxes_at_edges_and_without_area_are_those_of_the_package(detector, height, width):
    draws = np.random.RandomState(height)
    reference = vars(nudenet.nudenet)["_postprocess"]
    padding, compared = (max(height, width) - width, max(height, width) - height), 0
    for largest in (0, 30, 150, 600):
        output = np.empty((4 + len(detector.labels), 150), np.float32)
        output[:2] = draws.uniform(-40, 360, size=(2, 150))
        output[2:4] = draws.uniform(0, largest, size=(2, 150))
        output[4:] = draws.uniform(0, 1, size=output[4:].shape) ** 12
        expected = reference([output[None]], *padding, 1, 1, width, height, 320, 320)
        detections = ours._detections(output, height, width, detector.labels)
        assert_same(detections, expected)
        scores = [each.score for each in detections]
        assert scores == sorted(scores, reverse=True)
        for x0, y0, x1, y1 in (each.box for each in detections):
            # Corners are added up in float32.
            assert -1e-3 < x0 <= x1 < width + 1e-3
            assert -1e-3 < y0 <= y1 < height + 1e-3
        compared += len(expected)
    assert compared >= 4


def test_boxes_are_in_pixels_of_the_image_as_it_was_given(detector, photograph):
    image = np.array(photograph)
    page = np.zeros((900, 1000, 3), np.uint8)
    page[250:850, 300:812] = image
    alone, moved = detector([image, page])
    np.testing.assert_allclose(moved[0].box, np.add(alone[0].box, (300, 250, 300, 250)), atol=25)


def test_batches_do_not_mix_images_or_change_their_order(detector, pictures):
    some = pictures[::3]
    together = detector(some)
    assert len({len(each) for each in together}) > 1
    one_by_one, threes = NudeNet(batch=1), NudeNet(batch=3)
    for other in (one_by_one(some), threes(some), detector(some[::-1])[::-1]):
        for left, right in zip(together, other, strict=True):
            x0y0wh = [{"class": d.label, "score": d.score, "box": corners_to_size(d.box)} for d in right]
            assert_same(left, x0y0wh)


def corners_to_size(box):
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def test_views_and_read_only_arrays_give_the_same_detections(detector, photograph):
    image = np.array(photograph)
    turned = image[::-1, ::-1].copy()[::-1, ::-1]
    protected = image.copy()
    protected.flags.writeable = False
    plain, from_view, from_protected, from_stack = detector([image, turned, protected, np.stack([image])[0]])
    assert plain == from_view == from_protected == from_stack


def test_empty_input_gives_no_detections(detector):
    assert detector([]) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((8, 8), np.uint8), r"\(8, 8\)"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), "not empty"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "Tensor"),
    ],
    ids=["float", "grey", "channels first", "alpha", "empty", "tensor"],
)
def test_array_that_is_no_rgb_image_is_refused(detector, wrong, said):
    with pytest.raises(ValueError, match=f"image 1 must be .*{said}"):
        detector([np.zeros((8, 8, 3), np.uint8), wrong])


def test_labels_are_those_of_the_package_in_its_order(detector):
    assert detector.labels == tuple(vars(nudenet.nudenet)["__labels"])
    assert set(detector.sensitive) == {label for label in detector.labels if label.endswith("_EXPOSED")}
    assert (detector.name, detector.threshold) == ("nudenet-3.4.2-320n", 0.5)


def test_missing_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match="cannot use CUDA"):
        NudeNet(provider="cuda")


class Session:
    """A session of an onnxruntime that has CUDA built in, on a machine whose CUDA may be `broken`."""

    broken = False

    def __init__(self, model, options, providers):
        self.asked = providers

    def get_providers(self):
        return self.asked[1:] if self.broken else self.asked


def test_cuda_is_used_only_where_it_works(monkeypatch):
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Other", cpu, cuda])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert [ours._session(each).asked for each in ("auto", "cpu", "cuda")] == [[cuda, cpu], [cpu], [cuda]]
    monkeypatch.setattr(Session, "broken", True)
    assert ours._session("auto").get_providers() == [cpu]
    with pytest.raises(UsageError, match="cannot use CUDA"):
        ours._session("cuda")


@pytest.mark.parametrize(("set_to", "threads"), [("3", 3), ("2,1", 2), ("", 0), ("many", 0)])
def test_number_of_threads_follows_omp_num_threads(monkeypatch, set_to, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", set_to)
    assert ours._options().intra_op_num_threads == threads


def test_wrong_option_is_refused_with_the_allowed_values(detector):
    with pytest.raises(UsageError, match="at least 1 image, not 0"):
        NudeNet(batch=0)
    with pytest.raises(UsageError, match="one of auto, cpu, cuda, not 'gpu'"):
        NudeNet(provider="gpu")


def test_missing_or_truncated_weights_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(ours, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"320n\.onnx cannot be read .*reinstall the package `nudenet`"):
        NudeNet()
    whole = Path(nudenet.__file__).with_name("320n.onnx").read_bytes()
    (tmp_path / "320n.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"320n\.onnx cannot be loaded .*reinstall the package `nudenet`"):
        NudeNet()


def test_importing_the_module_loads_no_inference_engine():
    code = "import sys, metrics.detectors.nudenet; sys.exit(bool({'nudenet', 'onnxruntime', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
