"""Parts of a whole, told so that a part is never all of it and never nothing."""

from __future__ import annotations


def rounded(share: float) -> float:
    """A part of all, 0 to 1, to four digits; to more where it would be all or nothing then.

    Args:
        share: As it was computed.
    """
    told = round(share, 4)
    return share if told in (0, 1) else told


def percentage(share: float, digits: int = 0) -> str:
    """A part of all, 0 to 1, in words; ``<1%`` and ``>99%`` where it would read as nothing or all and is not.

    Args:
        share: As it was computed.
        digits: Behind the point.
    """
    told, least = f"{share:.{digits}%}", 10**-digits
    if 0 < share < 1 and told in (f"{0:.{digits}%}", f"{1:.{digits}%}"):
        return f"<{least}%" if share < 0.5 else f">{100 - least}%"
    return told
