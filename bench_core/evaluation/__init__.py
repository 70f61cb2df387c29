"""What several tasks share: embeddings, metrics, probes and searches.

cka.py                  Similarity of two embeddings of the same items: linear CKA, debiased
classification.py       Labelled embeddings, as probes read them, and the scores of probes that answer with a clas
embeddings.py           Embeddings of a split by their names
fine_tuning.py          Fine-tuning: a copy of an encoder and a linear head, trained together on labels for a fixe
hamming.py              How many items, and how many relevant ones, lie at each Hamming distance: all that ranks b
hash_codes.py           Codes that are made of features without training a network, and how well codes use their b
knn.py                  Answers of nearest neighbours: votes weighted by exp(cosine / temperature)
linear_probe.py         Linear probe: logistic regression on standardised features, its penalty chosen on a held-o
logistic_regression.py  Multinomial logistic regression, solved to its optimum
nearest_neighbours.py   Exact nearest neighbours: faiss on the CPU, plain products on a GPU. Bounded memory in bot
other_datasets.py       Another data set through a method's eyes: images brought to its shape, and embedded as its
ranking.py              Accuracy of answers and quality of rankings; pure functions
retrieval.py            Queries against a database: which items stand on either side, which are relevant, and what
sign_patterns.py        Linear regions: how many sign patterns of ReLU units the data reach, and how these differ
statistics.py           Student's t interval of a mean, over seeds or episodes
"""
