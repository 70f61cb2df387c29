"""Method amdim: augmented multiscale Deep InfoMax.

objective.py        the method: parameters, heads and the loss
location_scores.py  scores of a source with all locations of a map, and how they are kept in bounds
local_maps.py       choice of an encoder's two maps, their heads, and their locations as rows
view_pairs.py       two views of each image, as the code augments them
"""
