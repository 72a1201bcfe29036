"""This module names the cities and frames of streets before a frame is drawn."""

CITIES = {
    "train": ("altenfurt", "brueckhaven", "crailsum", "dornwede", "eschlingen", "falkenmoor"),
    "val": ("grauwick", "hollerbach", "ilmstedt", "jarnsund"),
    "pool": ("kaltenried",),
}
"""By split, which is the domain of its scenes too; nothing of a suite reads `pool`."""


def frame_name(split: str, index: int, count: int) -> tuple[str, str]:
    """City and name of frame `index` of `count`, '<city>_<sequence>_<frame>'; cities take equal runs of frames."""
    cities = CITIES[split]
    city = cities[index * len(cities) // max(count, len(cities))]
    return city, f"{city}_{index:06d}_000019"
