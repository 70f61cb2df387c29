"""Engines that run chains in other processes; `running/runner.py` is the one that runs them in this process.

An engine gives a process names, not objects, and reads nothing that the process returns: the records and attempts on
disk tell what was done.

processes.py         The engine of one machine: a process for each chain, several side by side
slurm.py             The engine of a Slurm cluster: chains divided among elements of job arrays, and submitted
slurm_config.py      What elements ask Slurm for: the command line, and a table of a TOML file
slurm_element.py     One element on its node: starts the command, and is queued again where it was stopped
slurm_supervisor.py  The work of that command: one chain in a process of its own, and its failures
slurm_follow.py      Progress of elements for `--wait`
"""
