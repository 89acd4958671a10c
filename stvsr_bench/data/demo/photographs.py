"""The four photographs that ship inside scikit-image, decoded and checked to the bit."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.resources
import io

import cv2
import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import frame_digest

Pixels = npt.NDArray[np.uint8]

# name: (file in skimage/data, sha256 of the decoded pixels as `frame_digest` defines it)
PHOTOGRAPHS = {
    "astronaut": ("astronaut.png", "f07f3d10116fc8376881fcf59c4f7788959a240860bc47b9b1b59b4018a3640d"),
    "chelsea": ("chelsea.png", "9ce40e3ad4046feb6a4ab1ebc967bdab48658d087f8a790e71ec9115b85c5f57"),
    "coffee": ("coffee.png", "c6e36e9983514e980bdbfd79e1485df5f31149fc85417b6521480342004d95af"),
    "rocket": ("rocket.jpg", "4bcca97de91586c9f2f1a3498f55c1c7730601a02ad197b640060362c47ff69d"),
}


def _with_opencv(encoded: bytes) -> Pixels | None:
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else np.ascontiguousarray(decoded[..., ::-1])


def _with_pillow(encoded: bytes) -> Pixels | None:
    try:
        return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # what its readers raise for bytes that they cannot decode
        return None


# JPEG decoders need not agree to the bit. These two do; should one of them change, the other stands in.
_DECODERS = (_with_opencv, _with_pillow)


@functools.cache
def photograph(name: str) -> Pixels:
    """Return a photograph as uint8 RGB ``(H, W, 3)``, read-only.

    Args:
        name: a key of ``PHOTOGRAPHS``.

    Raises:
        DataError: scikit-image does not carry the file, or no decoder at hand gives the expected pixels.
    """
    file, expected = PHOTOGRAPHS[name]
    versions = (
        f"scikit-image {importlib.metadata.version('scikit-image')}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"
    )
    try:
        encoded = (importlib.resources.files("skimage.data") / file).read_bytes()
    except (OSError, ModuleNotFoundError) as error:
        raise DataError(
            f"dataset 'demo': the photograph '{file}' of scikit-image cannot be read",
            got=f"{error} ({versions})",
            accepted="scikit-image 0.24 or newer with the photographs in its package",
            action="reinstall scikit-image",
        ) from error
    for decode in _DECODERS:
        pixels = decode(encoded)
        if pixels is not None and frame_digest(pixels.tobytes(), *pixels.shape[:2]).hex() == expected:
            pixels.flags.writeable = False
            return pixels
    raise DataError(
        f"dataset 'demo': the photograph '{file}' of scikit-image has unexpected pixels",
        got=f"a file with sha256 {hashlib.sha256(encoded).hexdigest()[:12]}…, decoded with {versions}",
        accepted=f"pixels with sha256 {expected[:12]}…",
        action="install these packages as wheels from PyPI: other pixels would make scores incomparable",
    )
