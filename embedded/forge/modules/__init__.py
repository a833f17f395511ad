"""The embedded WebUI's counterpart of Forge's package `modules`: names, signatures and order of calls as at dfdcbab6.
What is not here is common to both flavours.
"""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "common" / "modules"))
