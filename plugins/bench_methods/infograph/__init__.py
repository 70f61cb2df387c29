"""Methods infograph and infograph_semi: graphs that recognise their own nodes.

objective.py          infograph: trained on graphs without labels
semi_supervised.py    infograph_semi: two encoders, and labels of a part of the graphs
node_information.py   the estimate of information between nodes and graphs, and the networks that score them
"""
