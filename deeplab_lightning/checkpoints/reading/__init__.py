"""Reading weights that other programs wrote: nothing in a file is executed, and no file takes more memory than it has.

Every reader takes sizes from the file, never on trust: what a header announces must lie within the file.
"""

from .files import read_foreign
from .foreign import ForeignFile

__all__ = ["ForeignFile", "read_foreign"]
