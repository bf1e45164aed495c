"""DICOM files -> `uint8 (H, W)` or `(H, W, 3)`, by pydicom, which is optional: `pip install pydicom` (and its pixel plug-ins).

What a viewer shows is what is taken: rescaled to the modality's values, through the window that the file names, else from its darkest to
its brightest value; MONOCHROME1 is inverted, so that bright means bright; of several frames the first counts
(DICOM PS3.3, C.7.6.3.1.2 and C.11.2).
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

WITHOUT_PYDICOM = (
    "it is a DICOM file, which needs pydicom: pip install pydicom (compressed ones pylibjpeg[all] too), or convert it to PNG"
)


def dicom_pixels(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a DICOM file.

    Raises:
        ImportError: pydicom is not installed.
        Exception: Whatever pydicom raises on damaged data.
    """
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    read = dcmread(io.BytesIO(data))
    array: NDArray[Any] = read.pixel_array
    if int(getattr(read, "NumberOfFrames", None) or 1) > 1:
        array = array[0]
    if array.ndim == 3:
        return array.astype(np.uint8)
    shown = np.asarray(apply_voi_lut(apply_modality_lut(array, read), read), dtype=np.float64)
    if read.PhotometricInterpretation == "MONOCHROME1":
        shown = shown.max() - shown
    low, high = float(shown.min()), float(shown.max())
    scaled: NDArray[np.uint8] = np.rint((shown - low) / (high - low or 1.0) * 255).astype(np.uint8)
    return scaled
