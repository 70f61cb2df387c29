"""Count the faults of single operations on files that a command met."""

from collections import Counter
from dataclasses import dataclass, field

COLUMNS = {  # of the table: operations that are counted together
    "open": ("open", "create", "map"), "read": ("read",), "write": ("write", "truncate", "close"), "sync": ("fsync",),
    "name": ("rename", "link"), "make, delete": ("mkdir", "unlink", "rmdir"),
    "look": ("stat", "list", "chmod", "utime"),
}  # fmt: skip


@dataclass
class Tally:
    """Faults that one command met.

    Attributes:
        operations: Operations that the undisturbed command makes.
        injected: Column of the table -> faults.
        errors: Error -> faults.
        refused: How often the command ended with an error.
        lost: How often the fault was not survived.
    """

    operations: int
    injected: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    lost: int = 0
