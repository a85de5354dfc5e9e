"""Give AI agents quantum hardware without giving them the keys."""

import atexit
import gc

__version__ = "0.1.0"

# At exit the interpreter collects garbage once more, when half of every module is gone. msgspec's
# types do not survive that in some orders (its issue 717: a crash after all work was done, so a
# good run ends as a failed one). What is frozen is not collected; the process ends anyway.
atexit.register(gc.freeze)
