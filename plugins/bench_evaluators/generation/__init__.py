"""Task generation: quality of samples and reconstructions.

evaluator.py          Generation: whether what a method decodes and draws looks like its data
feature_space.py      A space in which images are compared, and what is measured in it
image_errors.py       Errors of copies of images: mean squared error, peak signal-to-noise ratio, structural simil
inception.py          The Inception network of FID, KID and the inception score, from a file that the user brings;
reference_network.py  What generated images are compared in, without a download: a small network of ours, and prin
sample_quality.py     How close two sets of images are in the features of a fixed network, and how sure and varied
samples.py            Images that a generative method makes, as 8-bit images like those of the data, in batches of
"""
