"""Building blocks that several methods and encoders share.

layers.py              layers of encoders: standardising inputs, and the check that a dataset has images
heads.py               projection and prediction heads, which are used in training only
adversarial.py         losses of a game: a discriminator, and a network that makes fake items for it
momentum.py            momentum copies of networks, and queues of features
collapse.py            measures of collapse: how far features spread, and over how many directions
activation_codes.py    activation codes and their noisy channel, for `nac` and `nac_moco`
mutual_information.py  lower bounds of mutual information from the scores of a critic
joint_critic.py        a critic that reads both sides of a pair at once
coding_rate.py         coding rate and rate reduction of a set of features, in nats
transcription.py       the closed loop of `ctrl` and `uctrl`: image -> latent -> image -> latent
decoders.py            the convolutional decoder of generative methods: latents -> images
variational.py         posterior, likelihoods and bounds of variational auto-encoders
latent_sampling.py     draws new latents that resemble given ones
rate_clusters.py       clusters of frozen latents, found by rate reduction
priors.py              distributions with independent coordinates that an embedding can be trained to follow
sinkhorn.py            Sinkhorn-Knopp: assigns items to clusters of equal size
"""
