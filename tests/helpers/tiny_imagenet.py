"""A few images in the format and under the name of ImageNet, prepared by TFDS.

An image's label is its number, and so is its brightness: whatever is cropped, mirrored
or scaled, what comes out tells where it came from.
"""

import io

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered

# ImageNet's own test split has no labels; TFDS calls them -1.
LABELS = {"train": range(22), "validation": range(100, 110), "test": [-1, -1]}
GREY, CMYK = 3, 4  # as some of ImageNet's files are


def brightness(label):
    return 2 * label + 10


def encode(label):
    """Return an image as a file; a test may put another in its place."""
    size = (20 + 3 * (label % 7), 18 + 5 * (label % 4))
    image = Image.new("RGB", size, (brightness(label),) * 3)
    if label in (GREY, CMYK):
        image = image.convert("L" if label == GREY else "CMYK")
    jpeg = io.BytesIO()
    image.save(jpeg, "jpeg", quality=95)
    return jpeg.getvalue()


# The name belongs to the official builder, which is to read what this one writes.
with registered.skip_registration():

    class Imagenet2012(tfds.core.GeneratorBasedBuilder):
        """Thirty-four images of one shade each."""

        VERSION = tfds.core.Version("5.1.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=1000),
                "file_name": tfds.features.Text(),
            }
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in LABELS}

        def _generate_examples(self, split):
            for i, label in enumerate(LABELS[split]):
                name = f"{split}_{i}.JPEG"
                example = {"image": encode(label), "label": label, "file_name": name}
                yield name, example


def prepare(folder):
    """Write it below a folder."""
    builder = Imagenet2012(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
