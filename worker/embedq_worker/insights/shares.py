"""Shares of a whole, rounded so that a part never reads as all or nothing."""

from __future__ import annotations


def rounded(share: float) -> float:
    """A share, 0 to 1, rounded to four digits unless that would make it 0 or 1.

    Args:
        share: As computed.
    """
    told = round(share, 4)
    return share if told in (0, 1) else told


def percentage(share: float, digits: int = 0) -> str:
    """A share, 0 to 1, as a percentage; ``<1%`` or ``>99%`` where rounding would give 0% or 100%.

    Args:
        share: As computed.
        digits: Decimal places.
    """
    told, least = f"{share:.{digits}%}", 10**-digits
    if 0 < share < 1 and told in (f"{0:.{digits}%}", f"{1:.{digits}%}"):
        return f"<{least}%" if share < 0.5 else f">{100 - least}%"
    return told
