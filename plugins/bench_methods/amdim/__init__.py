"""Method amdim: augmented multiscale Deep InfoMax.

objective.py      the method: parameters, heads and the loss
location_nce.py   estimates of information between a source and all locations of a map, from their scores
local_maps.py     choice of an encoder's two maps, their heads, and their locations as rows
view_pairs.py     two views of each image, as the code augments them
"""
