"""All tables, sentences, figures and checks print numbers by these functions."""


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number as printed: fixed decimals, thousands apart, a real minus sign, no negative zero."""
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = f"{0:,.{decimals}f}"
    return text.replace("-", "−")
