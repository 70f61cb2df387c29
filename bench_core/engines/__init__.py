"""Engines that run chains in other processes; `running/runner.py` is the one that runs them in this process.

An engine gives a process names, not objects, and reads nothing that the process returns: the records and attempts on
disk tell what was done.
"""
