"""A set is found by its name, or one line says what would help."""

import json

import pytest

from benchmarks import data
from benchmarks.errors import UsageError
from tests.helpers import tiny_images


@pytest.mark.parametrize(
    "name", ["cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped"]
)
def test_an_official_set_that_is_not_prepared_names_folder_and_command(tmp_path, name):
    with pytest.raises(UsageError) as error:
        data.find(name, tmp_path)
    message = str(error.value)
    assert f"{name} is not prepared: searched {tmp_path}/{name}/" in message
    assert f"`python -m benchmarks prepare {name} --data-dir DIR`" in message


@pytest.mark.parametrize("name", ["tiny_shakespeare", "imagenet2012", "stl10"])
def test_another_set_that_is_not_prepared_names_the_command_of_tfds(tmp_path, name):
    with pytest.raises(UsageError) as error:
        data.find(name, tmp_path)
    message = str(error.value)
    assert f"{name} is not prepared: searched {tmp_path}/{name}/" in message
    assert f"`tfds build {name} --file_format=array_record --data_dir=DIR`" in message


def test_an_unknown_set_lists_the_usual_ones(tmp_path):
    with pytest.raises(UsageError, match="'cifar11' does not exist.*cifar10, cifar100"):
        data.find("cifar11", tmp_path)


def test_what_cannot_be_a_name_lists_the_usual_ones(tmp_path):
    with pytest.raises(UsageError, match="'a-b!' is not a valid TFDS name; try d"):
        data.find("a-b!", tmp_path)


def test_digits_need_no_folder(tmp_path):
    with pytest.raises(UsageError, match="--data-dir has no use with --dataset digits"):
        data.find("digits", tmp_path)


def change(folder, file, change):
    """Change what TFDS wrote about the set."""
    path = folder / "tiny_images" / "1.0.0" / file
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_a_set_in_another_format_is_refused(tmp_path):
    tiny_images.prepare(tmp_path)
    change(
        tmp_path, "dataset_info.json", lambda info: info | {"fileFormat": "tfrecord"}
    )
    with pytest.raises(UsageError, match="tfrecord format, which only TensorFlow rea"):
        data.find("tiny_images", tmp_path)


def test_a_set_without_a_test_split_is_refused(tmp_path):
    tiny_images.prepare(tmp_path)

    def drop(info):
        return info | {"splits": [s for s in info["splits"] if s["name"] == "train"]}

    change(tmp_path, "dataset_info.json", drop)
    with pytest.raises(UsageError, match="does not hold .* split into train and test"):
        data.find("tiny_images", tmp_path)


def test_all_usual_names_but_digits_are_known_to_tfds(tmp_path):
    for name in set(data.NAMES) - {"digits"}:
        with pytest.raises(UsageError, match=f"{name} is not prepared"):
            data.find(name, tmp_path)
