"""Code that several tasks share: embeddings, probes, rankings and searches.

embeddings.py             reads embeddings by name, with labels
rows.py                   features that are read in blocks, where there are too many to copy
other_datasets.py         embeds images of a dataset that the method was not trained on; converts images
classification.py         scores of classifiers: accuracy, chance level, per-item hits
linear_probe.py           a linear classifier on standardised features; chooses the penalty on held-out items
logistic_regression.py    multinomial logistic regression, solved to its optimum
linear_svm.py             linear support vector machine, solved in the same way
fine_tuning.py            trains a copy of an encoder together with a linear head on labels
knn.py                    classifies by weighted votes of nearest neighbours
nearest_neighbours.py     exact search by inner product or Hamming distance
approximate_search.py     search by an index of faiss, where exact search is too dear
kmeans.py                 groups items around centres, by cosine or by distance
retrieval.py              queries and database of a search task, relevant items, chance levels
ranking.py                average precision and precision of rankings, with and without ties
hamming.py                histograms of Hamming distances, from which rankings of codes are scored
hash_codes.py             codes from features by LSH, PCA and ITQ, and how well codes use their bits
sign_patterns.py          counts of sign patterns of ReLU units, a measure of linear regions
neighbour_information.py  estimates of information from distances to nearest neighbours; nothing is trained
pair_critics.py           critics that are fitted to pairs, and lower bounds of information on other pairs
spectrum.py               singular values of features, and RankMe
cka.py                    similarity of two embeddings of the same items
intervals.py              Student's t interval of a mean
"""
