"""A small text, prepared by TFDS as tiny_shakespeare is: one example per split."""

import tensorflow_datasets as tfds

TEXTS = {
    "train": b"to be, or not to be: that is the question.\n" * 13,
    "validation": b"whether 'tis nobler\n",
    "test": b"or be that question, to not be the that is.\n" * 7,
}


class TinyText(tfds.core.GeneratorBasedBuilder):
    """Variations on one line."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in TEXTS}

    def _generate_examples(self, split):
        yield split, {"text": TEXTS[split]}


def prepare(folder):
    """Write it below a folder."""
    builder = TinyText(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
