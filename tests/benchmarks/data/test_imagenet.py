"""Streamed images depend on seed and step alone, and each is seen as often as told."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from benchmarks import data
from benchmarks.data.imagenet import ImageStream, draw_box
from benchmarks.data.preprocessing import Pixels
from benchmarks.errors import UsageError
from tests.helpers import tiny_imagenet, tiny_images

NORMALISED = Pixels(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), padding=0, flip=False
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tiny_imagenet.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def stream(prepared):
    stream = data.find("imagenet2012", prepared).read()
    return dataclasses.replace(stream, size=16, test_side=18)


def ramp(width, height):
    """An image whose red tells the column, and whose green tells the row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


def stream_of(*images, **settings):
    """Stream images that are at hand; the label is the number."""
    examples = [(image, i) for i, image in enumerate(images)]
    return ImageStream(NORMALISED, examples, examples, **settings)


def take(batches, count):
    """Return some batches as one."""
    inputs, labels = zip(*itertools.islice(batches, count), strict=True)
    return data.Split(np.concatenate(inputs), np.concatenate(labels))


def assert_equal(split, expected):
    np.testing.assert_array_equal(split.inputs, expected.inputs)
    np.testing.assert_array_equal(split.labels, expected.labels)


def test_imagenet_is_found_with_its_validation_split_as_the_test(prepared):
    source = data.find("imagenet2012", prepared)
    assert (source.kind, source.input_shape) == ("images", (224, 224, 3))
    assert (source.train_size, source.test_size, source.classes) == (22, 10, 1000)
    stream = source.read()
    assert isinstance(stream, data.Stream)
    assert stream.preprocessing == NORMALISED
    inputs, labels = next(stream.train_batches(2, 0, 0, (0, 1)))
    assert (inputs.shape, inputs.dtype) == ((2, 224, 224, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((2,), np.int32)


def test_any_set_without_one_size_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_images, "SHAPE", (None, None, 3))
    tiny_images.prepare(tmp_path)
    source = data.find("tiny_images", tmp_path)
    assert (source.train_size, source.test_size, source.classes) == (40, 20, 3)
    batches = source.read().test_batches(20, (0, 1))
    ((inputs, labels), counts) = next(batches)
    assert (inputs.shape, counts.all()) == ((20, 224, 224, 3), True)
    expected = tiny_images.LABELS[list(tiny_images.SPLITS["test"])]
    assert sorted(labels) == sorted(expected)


def test_whatever_is_cropped_comes_with_its_label(stream):
    inputs, labels = take(stream.train_batches(4, 0, 0, (0, 1)), 12)
    assert {tiny_imagenet.GREY, tiny_imagenet.CMYK} < set(labels)
    expected = tiny_imagenet.brightness(labels)[:, None, None, None]
    assert inputs.shape == (48, 16, 16, 3)
    # One shade each; JPEG and CMYK round it.
    assert np.abs(inputs.astype(int) - expected).max() <= 2


def test_an_epoch_sees_no_image_twice_and_the_next_one_another_order(stream):
    # 22 images make 5 steps of 4; 2 of them are left over.
    batches = stream.train_batches(4, 0, 0, (0, 1))
    orders = [list(take(batches, 5).labels) for _ in range(6)]
    for order in orders:
        assert len(set(order)) == 20
        assert set(order) <= set(range(22))
    assert len({tuple(order) for order in orders}) == 6
    assert set(itertools.chain(*orders)) == set(range(22))


@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_a_run_goes_on_at_any_step_bit_for_bit(stream, shard):
    whole = list(itertools.islice(stream.train_batches(4, 7, 0, shard), 12))
    for step, expected in enumerate(whole):
        assert_equal(next(stream.train_batches(4, 7, step, shard)), expected)


@pytest.mark.parametrize("processes", [2, 4])
def test_shares_together_are_the_batch_of_one_process(stream, processes):
    whole = stream.train_batches(4, 7, 2, (0, 1))
    shares = [
        stream.train_batches(4, 7, 2, (process, processes))
        for process in range(processes)
    ]
    for _ in range(8):
        inputs, labels = zip(*map(next, shares), strict=True)
        expected = next(whole)
        assert_equal(
            data.Split(np.concatenate(inputs), np.concatenate(labels)), expected
        )


def test_another_seed_gives_another_order(stream):
    orders = [
        tuple(take(stream.train_batches(4, seed, step, (0, 1)), 5).labels)
        for seed in range(3)
        for step in (0, 5)
    ]
    assert len(set(orders)) == 6


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_threads_change_no_number(stream, threads):
    noise = np.random.default_rng(0).integers(0, 256, (9, 30, 40, 3), dtype=np.uint8)
    settings = {"size": 16, "test_side": 18}
    images = [Image.fromarray(image) for image in noise]
    alone = stream_of(*images, **settings, threads=0)
    several = stream_of(*images, **settings, threads=threads)
    shard = (0, 1)
    assert_equal(
        take(several.train_batches(3, 0, 0, shard), 10),
        take(alone.train_batches(3, 0, 0, shard), 10),
    )
    for batch, expected in zip(
        several.test_batches(2, shard), alone.test_batches(2, shard), strict=True
    ):
        assert_equal(batch[0], expected[0])


@pytest.mark.parametrize(
    ("batch_size", "processes", "steps"), [(4, 1, 3), (4, 2, 3), (8, 4, 2), (5, 1, 2)]
)
def test_each_test_image_counts_once(stream, batch_size, processes, steps):
    seen = []
    for process in range(processes):
        batches = list(stream.test_batches(batch_size, (process, processes)))
        assert len(batches) == steps
        for (inputs, labels), counts in batches:
            assert len(inputs) == len(labels) == len(counts) == batch_size // processes
            assert counts.dtype == bool
            seen += list(labels[counts])
            expected = tiny_imagenet.brightness(labels)[:, None, None, None]
            assert np.abs(inputs.astype(int) - expected).max() <= 2
    assert sorted(seen) == list(range(100, 110))


def test_the_centre_is_cut_out_of_the_scaled_image():
    # With the short side as it should be, nothing is scaled.
    noise = np.random.default_rng(0).integers(0, 256, (300, 256, 3), dtype=np.uint8)
    ((inputs, _), _) = next(stream_of(Image.fromarray(noise)).test_batches(1, (0, 1)))
    np.testing.assert_array_equal(inputs[0], noise[38:262, 16:240])

    # A short side of 100 becomes 20, of which 14 stay: of the image those are columns
    # 15 to 85 and rows 65 to 135, five for each of the result.
    stream = stream_of(ramp(100, 200), size=14, test_side=20)
    ((inputs, _), _) = next(stream.test_batches(1, (0, 1)))
    middles = 5 * np.arange(14) + 2
    assert np.abs(inputs[0, :, :, 0] - (15.0 + middles)).max() <= 1
    assert np.abs(inputs[0, :, :, 1] - (65.0 + middles)[:, None]).max() <= 1


class Given:
    """Gives what it is told in place of random numbers."""

    def __init__(self, uniform, integers=()):
        self._uniform, self._integers = iter(uniform), iter(integers)
        self.choices = []

    def uniform(self, low, high):
        value = next(self._uniform)
        assert low <= value <= high
        return value

    def integers(self, choices):
        self.choices.append(choices)
        return next(self._integers)


@pytest.mark.parametrize(
    ("draws", "place", "box", "choices"),
    [
        # Half of 200 x 100 pixels, as a square: 100 x 100.
        ([0.5, math.log(1)], [30, 0], (30, 0, 130, 100), [101, 1]),
        # 5400 pixels, 84.85 x 63.64.
        ([0.27, math.log(4 / 3)], [9, 8], (9, 8, 94, 72), [116, 37]),
        # 163 x 122.5 is too high; the next draw is 40 x 40, the smallest.
        ([1.0, math.log(4 / 3), 0.08, 0], [160, 60], (160, 60, 200, 100), [161, 61]),
    ],
)
def test_a_box_is_what_was_drawn(draws, place, box, choices):
    rng = Given(draws, place)
    assert draw_box(rng, 200, 100) == box
    assert rng.choices == choices


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(300, 12, (142, 0, 158, 12)), (12, 300, (0, 142, 12, 158)), (9, 1, (4, 0, 5, 1))],
)
def test_an_image_too_long_for_any_box_gives_its_middle(width, height, box):
    draws = [1.0, 0.0] * 10
    assert draw_box(Given(draws), width, height) == box


def test_boxes_have_the_areas_and_ratios_of_the_recipe():
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(rng, 4000, 4000) for _ in range(4000)])
    assert boxes.min() >= 0
    assert boxes.max() <= 4000
    across, down = (boxes[:, 2:] - boxes[:, :2]).T
    areas, ratios = across * down / 4000**2, across / down
    assert 0.0799 < areas.min() < 0.09
    assert 0.97 < areas.max() <= 1
    assert 0.7499 < ratios.min() < 0.755
    assert 1.325 < ratios.max() < 1.3335
    # Where every ratio fits, the area is uniform: up to 3/4.
    fits = areas[areas < 0.74]
    counts, _ = np.histogram(fits, 6, (0.08, 0.74))
    np.testing.assert_allclose(counts, len(fits) / 6, rtol=0.2)
    # The logarithm of the ratio is as often above 0 as below.
    assert abs(np.mean(ratios > 1) - 0.5) < 0.05


def test_training_images_are_parts_scaled_linearly_and_half_are_mirrored():
    stream = stream_of(ramp(250, 200), size=8)
    inputs, _ = take(stream.train_batches(1, 0, 0, (0, 1)), 400)
    columns, rows = inputs[:, 4, :, 0].astype(float), inputs[:, :, 4, 1].astype(float)
    mirrored = columns[:, 0] > columns[:, -1]
    assert abs(mirrored.mean() - 0.5) < 0.1  # four standard deviations
    assert (rows[:, 0] < rows[:, -1]).all()
    columns[mirrored] = columns[mirrored, ::-1]
    for lines, length in ((columns, 250), (rows, 200)):
        # Away from the edges, where Pillow leans on fewer pixels, steps are equal.
        step = (lines[:, 6] - lines[:, 1]) / 5
        expected = lines[:, 1:2] + step[:, None] * np.arange(6)
        assert np.abs(lines[:, 1:7] - expected).max() <= 1.5
        assert (8 * step).max() <= length + 2
        assert (8 * step).min() >= math.sqrt(0.08 * 250 * 200 * 3 / 4) - 3
    assert np.ptp(columns[:, 0]) > 100  # parts from everywhere


def prepare_wrongly(folder, monkeypatch, name, value):
    """Prepare the set with something wrong."""
    monkeypatch.setattr(tiny_imagenet, name, value)
    tiny_imagenet.prepare(folder)
    return data.find("imagenet2012", folder).read()


def test_a_damaged_image_is_named(tmp_path, monkeypatch):
    encode = tiny_imagenet.encode
    cut = encode(7)[:300]
    stream = prepare_wrongly(
        tmp_path, monkeypatch, "encode", lambda i: cut if i == 7 else encode(i)
    )
    files = tfds.data_source(
        "imagenet2012",
        data_dir=tmp_path,
        split="train",
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    index = [example["image"] for example in files].index(cut)
    message = rf"imagenet2012, train\[{index}\] cannot be read"
    with pytest.raises(UsageError, match=message):
        take(stream.train_batches(22, 0, 0, (0, 1)), 1)


def test_a_label_out_of_range_is_named(tmp_path, monkeypatch):
    labels = tiny_imagenet.LABELS | {"validation": [5, -1]}
    stream = prepare_wrongly(tmp_path, monkeypatch, "LABELS", labels)
    message = r"imagenet2012, validation\[[01]\] has the label -1, .* \[0, 1000\)"
    with pytest.raises(UsageError, match=message):
        list(stream.test_batches(2, (0, 1)))
