"""Methods mine and mine_bottleneck: information between input and representation, maximised or minimised.

information.py  the estimate on a batch, by MINE or by its f-form
objective.py    `mine`: encoder and critic together maximise the estimate
bottleneck.py   `mine_bottleneck`: the encoder learns labels and minimises the estimate that a critic maximises
"""
