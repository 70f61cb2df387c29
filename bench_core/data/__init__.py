"""Tools for authors of datasets: kinds of items, files, decoded images, subsets of splits, and passes in batches.

kinds.py          items that are not one tensor: nodes of a graph, graphs, pairs
array_files.py    reads arrays of several splits from one npz or parquet file
files.py          paths of datasets, the error for missing data, and digests of content
image_formats.py  which files are images, by suffix or first bytes
image_pixels.py   decodes one image: orientation, transparency, crop and size
gpu_jpeg.py       decodes JPEG files on a GPU
image_depth.py    images of 16 bits: their values, and how they become 8 bits
image_cache.py    files of the cache, and stamps that tell whether a file may have changed
image_files.py    decodes image files once, at one size, and caches the array
mapped.py         splits in memory as files that several processes map
encoded_images.py images that a table holds as bytes of files, decoded at one size
image_listing.py  lists the images of a split, and what is passed over
image_folder.py   a folder of images with one sub-folder for each class
image_pool.py     a folder of images without classes or splits, or with a table
image_table.py    reads a table of images: paths, labels, factors, splits
label_cells.py    turns cells of a table into classes, labels and factors
factor_grid.py    draws combinations of known factors for each split
mnist_files.py    the original files of MNIST, which several datasets are made from
made.py           random items of any kind, for trials and checks
subsets.py        draws smaller splits, balanced over classes
folds.py          stratified folds, for cross-validation
split_faults.py   what is wrong with a split, compared with its dataset's description
checked.py        loads a split, and refuses one that has a fault
loading.py        passes over a split in batches: on the device if it fits, else streamed
"""

from bench_core.data.array_files import read_arrays as read_arrays
from bench_core.data.encoded_images import EncodedImages as EncodedImages
from bench_core.data.encoded_images import content_digest as content_digest
from bench_core.data.factor_grid import FactorDraws as FactorDraws
from bench_core.data.factor_grid import draw_combinations as draw_combinations
from bench_core.data.factor_grid import factor_values as factor_values
from bench_core.data.files import cache_root as cache_root
from bench_core.data.files import default_data_root as default_data_root
from bench_core.data.files import digest_of as digest_of
from bench_core.data.files import fetching as fetching
from bench_core.data.files import missing_data as missing_data
from bench_core.data.folds import stratified_folds as stratified_folds
from bench_core.data.image_files import ImageFiles as ImageFiles
from bench_core.data.image_folder import ImageFolder as ImageFolder
from bench_core.data.image_pool import DrawnTest as DrawnTest
from bench_core.data.image_pool import ImagePool as ImagePool
from bench_core.data.image_pool import is_one_pool as is_one_pool
from bench_core.data.image_table import ImageTable as ImageTable
from bench_core.data.kinds import Graphs as Graphs
from bench_core.data.kinds import NodeMap as NodeMap
from bench_core.data.kinds import Nodes as Nodes
from bench_core.data.kinds import Pair as Pair
from bench_core.data.kinds import join as join
from bench_core.data.kinds import select as select
from bench_core.data.loading import Source as Source
from bench_core.data.loading import open_split as open_split
from bench_core.data.mnist_files import MNIST_COUNTS as MNIST_COUNTS
from bench_core.data.mnist_files import MNIST_FILES as MNIST_FILES
from bench_core.data.mnist_files import MNISTFiles as MNISTFiles
from bench_core.data.mnist_files import idx_images as idx_images
from bench_core.data.mnist_files import idx_labels as idx_labels
from bench_core.data.mnist_files import read_checked as read_checked
from bench_core.data.subsets import Subsets as Subsets
from bench_core.data.subsets import draw_index as draw_index
from bench_core.data.subsets import ranks_in_class as ranks_in_class
from bench_core.data.subsets import subset as subset
from bench_core.data.subsets import subset_counts as subset_counts
from bench_core.data.subsets import take as take
from bench_core.files import file_digest as file_digest
from bench_core.files import new_file as new_file
from bench_core.files import new_folder as new_folder
from bench_core.store.weight_files import read_weights as read_weights

__all__ = [
    "MNIST_COUNTS",
    "MNIST_FILES",
    "DrawnTest",
    "EncodedImages",
    "FactorDraws",
    "Graphs",
    "ImageFiles",
    "ImageFolder",
    "ImagePool",
    "ImageTable",
    "MNISTFiles",
    "NodeMap",
    "Nodes",
    "Pair",
    "Source",
    "Subsets",
    "cache_root",
    "content_digest",
    "default_data_root",
    "digest_of",
    "draw_combinations",
    "draw_index",
    "factor_values",
    "fetching",
    "file_digest",
    "idx_images",
    "idx_labels",
    "is_one_pool",
    "join",
    "missing_data",
    "new_file",
    "new_folder",
    "open_split",
    "ranks_in_class",
    "read_arrays",
    "read_checked",
    "read_weights",
    "select",
    "stratified_folds",
    "subset",
    "subset_counts",
    "take",
]
