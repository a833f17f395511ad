"""What the page puts into its hidden text box: its key, and whether somebody has asked for a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from extension_core.errors import DiversityError

Comparison = Literal["compare", "try"]


@dataclass(frozen=True)
class PageKey:
    """One page's secret.

    Attributes:
        key: "" over the API.
        asks: "compare" from the DT-preview, "try" from the panel, "" if nobody clicked.
        click: a text that is new for each click.
    """

    key: str = ""
    asks: Comparison | Literal[""] = ""
    click: str = ""

    @classmethod
    def read(cls, text: str) -> PageKey:
        """From "KEY", "KEY compare NONCE" or "KEY try NONCE".

        Raises:
            DiversityError: it is something else.
        """
        words = text.split()
        if not words:
            return cls()
        if len(words) == 1:
            return cls(words[0])
        if len(words) == 3 and words[1] in get_args(Comparison):
            return cls(words[0], cast(Comparison, words[1]), words[2])
        raise DiversityError("The page's key for the DT-preview is damaged; reload the page.")
