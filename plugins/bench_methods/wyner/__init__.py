"""Method wyner: the variational Wyner model of pairs.

objective.py  the method: parameters, samples of the model and of the data, both players and their losses
networks.py   encoders of one modality, and decoders
ratios.py     networks that estimate log-ratios of two distributions
"""
