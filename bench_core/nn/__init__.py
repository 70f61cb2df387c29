"""Building blocks that several methods and encoders share.

activation_codes.py    Activation codes and the noisy channel they are sent through: what NAC and its momentum-que
coding_rate.py         Coding rate and rate reduction: how many nats a set of features takes up to a squared error
collapse.py            Measures of collapse: how far features spread, and over how many directions
decoders.py            The decoder of every method that has one: latents -> images
heads.py               Heads that training alone sees, and numbers that say whether what they return has collapsed
latent_sampling.py     Drawing new latents like those of given items: a Gaussian, or along principal directions
layers.py              Layers and checks that encoders share
momentum.py            Momentum copies of networks: BYOL, MoCo, NAC's queue variant
mutual_information.py  Lower bounds of mutual information from a critic's scores, in nats; each is to be maximised
priors.py              Distributions that an embedding may be asked to follow: independent coordinates, each by it
rate_clusters.py       Clusters of frozen latents: the memberships that reduce their rate the most
sinkhorn.py            Sinkhorn-Knopp: labels for N items in K clusters of equal size, at the least total cost
transcription.py       The closed loop of CTRL and U-CTRL: image -> latent on the sphere -> image -> latent
variational.py         What variational auto-encoders share: posterior, likelihoods of images, bounds
"""
