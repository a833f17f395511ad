"""The embedded WebUI's counterpart of AUTOMATIC1111's package `modules`: same names, signatures and order of calls as
version 1.10.1. What is not here is common to both flavours.
"""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "common" / "modules"))
