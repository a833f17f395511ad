"""What the page puts into its hidden text box: its key, and which comparison it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from extension_core.errors import DiversityError


@dataclass(frozen=True)
class PageKey:
    """One page's secret.

    Attributes:
        key: "" over the API.
        compare: a text that is new for each click on Compare, "" if nobody clicked.
    """

    key: str = ""
    compare: str = ""

    @classmethod
    def read(cls, text: str) -> PageKey:
        """From "KEY" or "KEY compare NONCE".

        Raises:
            DiversityError: it is something else.
        """
        words = text.split()
        if not words:
            return cls()
        if len(words) == 1:
            return cls(words[0])
        if len(words) == 3 and words[1] == "compare":
            return cls(words[0], words[2])
        raise DiversityError("The page's key for the DT-preview is damaged; reload the page.")
