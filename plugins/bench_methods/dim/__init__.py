"""Method dim: Deep InfoMax.

objective.py          the method: parameters, networks, players and their losses
critics.py            networks that score pairs of a summary and a local feature
local_information.py  estimates of mutual information from these scores
local_maps.py         choice of an encoder's map, and its locations as rows
"""
