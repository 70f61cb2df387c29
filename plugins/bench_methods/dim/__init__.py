"""Method dim: Deep InfoMax.

adversarial.py        A game over rows: a discriminator tells real ones from made ones, their maker is to fool it
critics.py            Critics: how well each summary fits each local feature
local_information.py  How well summaries and local features of the same images tell each other from those of other
local_maps.py         An encoder's local map: which one, how large, and its locations as rows
objective.py          Deep InfoMax: a summary of the image is to tell the image's own places from those of other i
"""
