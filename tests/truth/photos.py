"""The photographs of which films are made: those of scikit-image that are in the public domain or under CC0.

Sources and licences: astronaut, hubble_deep_field (NASA, public domain), rocket (SpaceX, public domain), chelsea,
coffee, camera, retina, gravel (CC0), coins (Brooklyn Museum, no known restrictions).
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from PIL import Image

# What an ImageNet classifier may call it, in lower case.
NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "coffee": frozenset({"espresso", "cup", "coffee mug", "coffeepot"}),
        "chelsea": frozenset(
            {"tabby", "tabby cat", "tiger cat", "egyptian cat", "egyptian mau", "a cat having a striped coat"}
        ),
        "camera": frozenset({"tripod"}),
    }
)
# What these are known by, a tripod's legs, stands in the lower half of the photo.
LOW = frozenset({"camera"})
ALL = ("astronaut", "chelsea", "coffee", "camera", "rocket", "hubble_deep_field", "retina", "coins", "gravel")
# The one face, as shares of the photo: left, top, right, bottom.
FACES: Mapping[str, tuple[float, float, float, float]] = MappingProxyType({"astronaut": (0.34, 0.12, 0.55, 0.38)})


@functools.cache
def photo(name: str) -> Image.Image:
    from skimage import data

    pixels: Any = getattr(data, name)()
    return Image.fromarray(pixels).convert("RGB")
