"""Methods mimkd and mimkd_unlabelled: a student learns from a trained teacher.

objective.py           the methods: parameters, networks, losses
layers.py              features and maps of student and teacher, and the choice of a map
shared_information.py  estimates of the information that student and teacher share, with their critics
"""
