"""Where a chain runs. In this process that is `runner`; here is what starts a command for a chain and watches it.

An engine passes names, not objects, and nothing depends on what a process returns: the records on disk say what was
done.
"""
