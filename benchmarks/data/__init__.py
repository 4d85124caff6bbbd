"""Data sets of images and of text; the only user of TFDS and of Grain.

TensorFlow is never imported: TFDS reads its array_record files without it. Sets that
fit into memory are read as arrays, others are streamed while training.
"""

from benchmarks.data.load import NAMES, find
from benchmarks.data.selection import find_for
from benchmarks.data.types import Dataset, Source, Split, Stream

__all__ = ["NAMES", "Dataset", "Source", "Split", "Stream", "find", "find_for"]
