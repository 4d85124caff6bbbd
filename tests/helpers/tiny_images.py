"""A small data set of images, prepared by TFDS as users prepare theirs."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(60) % 3
SHAPE = (8, 8, 3)
SPLITS = {"train": range(40), "test": range(40, 60)}


def encode(i):
    """Return image i as a file; a test may put another in its place."""
    png = io.BytesIO()
    Image.fromarray(IMAGES[i]).save(png, "png")
    return png.getvalue()


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """Sixty images of noise in three classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=SHAPE, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(rows) for name, rows in SPLITS.items()}

    def _generate_examples(self, rows):
        for i in rows:
            yield i, {"image": encode(i), "label": int(LABELS[i])}


def prepare(folder, file_format="array_record"):
    """Write it below a folder."""
    builder = TinyImages(data_dir=folder, file_format=file_format)
    builder.download_and_prepare()
