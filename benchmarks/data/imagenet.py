"""ImageNet and other data sets with images of many sizes, streamed while training.

Pillow decodes, crops and resizes images in Grain's threads; they stay bytes until the
device normalizes them.
"""

import io
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.data.preprocessing import Pixels
from benchmarks.data.types import Source, Split, Stream, check_label, unreadable

# The usual means and standard deviations of ImageNet's channels.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def find_stream(name: str, builder: Any, test_split: str) -> Source:
    """Find a TFDS image data set whose images differ in size.

    ImageNet's own test split has no labels: the split to test on is given.
    """
    import tensorflow_datasets as tfds

    splits = builder.info.splits
    classes = builder.info.features["label"].num_classes

    def images(split: str) -> _Images:
        # TFDS would decode to as many channels as a file has.
        decoders = {"image": tfds.decode.SkipDecoding()}
        files = builder.as_data_source(split=split, decoders=decoders)
        return _Images(f"{name}, {split}", files, classes)

    def read() -> ImageStream:
        pixels = Pixels(_MEAN, _STD, padding=0, flip=False)
        return ImageStream(pixels, images("train"), images(test_split))

    sizes = splits["train"].num_examples, splits[test_split].num_examples
    shape = (ImageStream.size, ImageStream.size, 3)
    return Source(name, *sizes, shape, classes, "images", read, resident=False)


@dataclass(frozen=True)
class _Images:
    """Random access to the decoded images and labels of a split."""

    name: str
    files: Any
    classes: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        example = self.files[index]
        where = f"{self.name}[{index}]"
        label = int(example["label"])
        check_label(where, label, self.classes)
        try:
            # Some of ImageNet's files are grey, and some are in CMYK.
            image = Image.open(io.BytesIO(example["image"])).convert("RGB")
        except Exception as error:  # Pillow has many for a file that is damaged
            raise unreadable(where, error) from error
        return image, label


@dataclass(frozen=True)
class ImageStream(Stream):
    """Images scaled to one size, read while training.

    Attributes:
      train: The training images.
      test: The test images.
      size: Height and width of what a network sees.
      test_side: The short side to which a test image is scaled before its center is
        cropped.
      threads: How many batches are prefetched concurrently; 0 to make each on demand.
        It does not change the batches.
    """

    train: Any
    test: Any
    size: int = 224
    test_side: int = 256
    threads: int = os.cpu_count() or 1

    def train_batches(
        self, batch_size: int, seed: int, first_step: int, shard: tuple[int, int]
    ) -> Iterator[Split]:
        """Yield randomly cropped and mirrored images; see Stream."""
        import grain

        process, processes = shard
        share = batch_size // processes
        images = grain.MapDataset.source(self.train).seed(seed).shuffle()
        images = images[: len(images) // batch_size * batch_size]
        images = images.random_map(self._for_training).repeat()
        # The batch of a process follows that of the process before it. Slicing off
        # finished examples keeps the index of each, which seeds its draws.
        shares = images.batch(share, drop_remainder=True, batch_fn=_stack)
        return self._prefetch(shares[first_step * processes + process :: processes])

    def test_batches(
        self, batch_size: int, shard: tuple[int, int]
    ) -> Iterator[tuple[Split, np.ndarray]]:
        """Yield the centres of the images; see Stream."""
        import grain

        process, processes = shard
        share = batch_size // processes
        steps = math.ceil(len(self.test) / batch_size)
        # Repeated to pad the last batch.
        images = grain.MapDataset.source(self.test).map(self._for_testing).repeat()
        shares = images.batch(share, drop_remainder=True, batch_fn=_stack)
        batches = self._prefetch(shares[process : steps * processes : processes])
        starts = itertools.count(process * share, batch_size)
        for start, batch in zip(starts, batches, strict=False):
            yield batch, np.arange(start, start + share) < len(self.test)

    def _prefetch(self, batches: Any) -> Iterator[Split]:
        import grain

        options = grain.ReadOptions(
            num_threads=self.threads, prefetch_buffer_size=self.threads
        )
        return iter(batches.to_iter_dataset(options))

    def _for_training(
        self, example: tuple[Image.Image, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, int]:
        image, label = example
        box = draw_box(rng, *image.size)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image), label

    def _for_testing(self, example: tuple[Image.Image, int]) -> tuple[np.ndarray, int]:
        image, label = example
        # The part of the image that becomes the centre: one step instead of two, and no
        # rounding of the long side.
        side = min(image.size) * self.size / self.test_side
        left, top = ((length - side) / 2 for length in image.size)
        box = (left, top, left + side, top + side)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        return np.asarray(image), label


def _stack(examples: Sequence[tuple[np.ndarray, int]]) -> Split:
    images, labels = zip(*examples, strict=True)
    return Split(np.stack(images), np.array(labels, np.int32))


def draw_box(
    rng: np.random.Generator, width: int, height: int
) -> tuple[int, int, int, int]:
    """Draw a random crop: 8 to 100 % of the area, aspect ratio from 3/4 to 4/3.

    The fraction of the area is uniform, and so is the logarithm of the ratio. After ten
    draws that do not fit, as in very wide or very tall images, it is the largest center
    crop with an allowed ratio.

    Returns:
      Left, top, right and bottom, in pixels.
    """
    narrowest, widest = 3 / 4, 4 / 3
    for _ in range(10):
        area = rng.uniform(0.08, 1.0) * width * height
        ratio = math.exp(rng.uniform(math.log(narrowest), math.log(widest)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = int(rng.integers(width - across + 1))
            top = int(rng.integers(height - down + 1))
            return left, top, left + across, top + down
    across = min(width, max(round(height * widest), 1))
    down = min(height, max(round(width / narrowest), 1))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down
