"""Method gan: a generator and a discriminator, and the variant `mine`, which keeps the generator's code in its samples.

objective.py  the method: parameters, players and their losses
networks.py   generators of images and of vectors, and the network that estimates information
balance.py    adds two terms of a loss, and shortens the gradient of one to that of the other
"""
