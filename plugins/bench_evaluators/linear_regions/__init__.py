"""Task linear_regions: linear regions of the encoder along lines between images.

breakpoints.py  Breakpoints: where the ReLUs of a network switch on the way from one input to another, exactly
evaluator.py    Linear regions: how finely an encoder's ReLUs cut up the space of its inputs
"""
