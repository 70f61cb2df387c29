"""Method gan: a generator and a discriminator, and the variant `mine`, which keeps the generator's code in its samples.

objective.py  the method: parameters, players and their losses
networks.py   generators of images and of vectors, and the network that estimates information
balance.py    shortens one gradient to the length of another
"""
