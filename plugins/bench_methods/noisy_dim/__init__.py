"""Method noisy_dim: DIM through a noisy channel.

batch_statistics.py  Statistics of batch norm, taken anew when training is over
channel.py           A channel that adds noise: what it can carry, what is sent, and critics that score what was r
objective.py         Noise-injected Deep InfoMax: tell an image's noisy, normalised embedding from its view; only
"""
