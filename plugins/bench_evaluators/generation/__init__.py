"""Task generation: quality of samples and reconstructions.

evaluator.py          the task: which images are made, what they are compared with, all scores
samples.py            makes images with a method, in batches, as 8-bit images like those of the data
feature_space.py      a space in which images are compared, and the measures in it
reference_network.py  two such spaces without a download: a small trained network, and principal components
inception.py          a third space, the Inception network, from a file that the user provides
sample_quality.py     measures of two sets of features: FID, KID, precision, recall, ...
image_errors.py       errors of reconstructions: squared error, PSNR, structural similarity
"""
