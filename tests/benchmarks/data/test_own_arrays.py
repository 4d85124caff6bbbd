"""Data sets of the user's own: which kind they are, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import own_arrays
from benchmarks.errors import UsageError

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("inputs", "labels", "kind", "shape", "classes"),
    [
        (IMAGES, LABELS, "images", (4, 4, 3), 3),
        (IMAGES[..., 0], LABELS[:, None], "images", (4, 4, 1), 3),
        (IMAGES[:, 0, :, 0] % 5, IMAGES[:, 1, :, 0] % 5, "text", (4,), 5),
        (IMAGES / 255, LABELS, "arrays", (4, 4, 3), 3),
        (np.ones((6, 7)), rng.normal(size=6), "arrays", (7,), 0),
    ],
)
def test_arrays_say_by_shape_and_type_what_they_are(
    inputs, labels, kind, shape, classes
):
    source = own_arrays.from_arrays("mine", ((inputs, labels), (inputs, labels)))
    assert (source.kind, source.input_shape, source.classes) == (kind, shape, classes)
    assert (source.train_size, source.test_size) == (6, 6)
    contents = source.read()
    test = np.asarray(contents.preprocessing.test(contents.test.inputs))
    if kind == "arrays":  # as they are
        np.testing.assert_allclose(test, inputs, rtol=1e-6)
    elif kind == "text":
        np.testing.assert_array_equal(test, inputs)
    else:  # mean 0, deviation 1 in each channel
        np.testing.assert_allclose(test.mean(axis=(0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(test.std(axis=(0, 1, 2)), 1, rtol=1e-4)


def test_a_folder_of_images_is_read_class_by_class(tmp_path):
    for split, colors in (("train", (10, 20)), ("test", (30, 40))):
        for name, color in zip(("cat", "dog"), colors, strict=True):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (5, 3), (color, 0, 255)).save(folder / "a.png")
            (folder / "notes.txt").write_text("no image")
    contents = own_arrays.find(str(tmp_path)).read()
    assert contents.train.inputs.shape == (2, 3, 5, 3)
    assert contents.train.inputs[:, 0, 0].tolist() == [[10, 0, 255], [20, 0, 255]]
    assert contents.test.inputs[:, 2, 4, 0].tolist() == [30, 40]
    assert contents.test.labels.tolist() == [0, 1]
    Image.new("RGB", (4, 3)).save(tmp_path / "test" / "dog" / "b.png")
    with pytest.raises(UsageError, match=r"b.png has 3x4 pixels, .* 3x5; bring all"):
        own_arrays.find(str(tmp_path))
    (tmp_path / "test" / "eel").mkdir()
    with pytest.raises(UsageError, match="has the class eel, which train lacks"):
        own_arrays.find(str(tmp_path))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (3, r"must be \(\(inputs, labels\), \(inputs, labels\)\)"),
        (((IMAGES, LABELS[1:]), (IMAGES, LABELS)), "has 6 inputs and 5 labels"),
        (((IMAGES, LABELS - 1), (IMAGES, LABELS)), "has the label -1"),
        (((IMAGES, LABELS), (IMAGES[:, 1:], LABELS)), "must be alike"),
        (((["a"], [1]), (["a"], [1])), "inputs must be an array of numbers"),
        (((IMAGES[:0], LABELS[:0]),) * 2, "inputs must be an array of numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(contents, message):
    with pytest.raises(UsageError, match=message):
        own_arrays.from_arrays("mine", contents)


def test_a_file_says_which_arrays_it_must_hold(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    with pytest.raises(UsageError, match=r"train_inputs.*x_train.*it holds images"):
        own_arrays.find(str(tmp_path / "x.npz"))
    (tmp_path / "y.npz").write_text("no archive")
    with pytest.raises(UsageError, match=r"y.npz cannot be read"):
        own_arrays.find(str(tmp_path / "y.npz"))
    with pytest.raises(UsageError, match="must have the folders train and test"):
        own_arrays.find(str(tmp_path))
