"""Task linear_regions: linear regions of the encoder along lines between images.

evaluator.py    the task: segments between test images, counts of breakpoints and of activation patterns
breakpoints.py  exact positions on a segment at which ReLUs of a network switch on or off
"""
