"""Method noisy_dim: DIM through a noisy channel.

objective.py         the method: parameters, networks and loss
channel.py           the noisy channel: capacity, the head that sends, critics that score what is received
batch_statistics.py  statistics of batch norm, renewed after training
"""
