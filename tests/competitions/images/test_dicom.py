"""DICOM files show what a viewer shows; without pydicom the way out is named."""

import io
import sys

import numpy as np
import pytest

from competitions.images.decode import BrokenImage, decode


def dicom(stored: np.ndarray, **more: object) -> bytes:
    pytest.importorskip("pydicom", reason="pydicom is optional and not installed here")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = stored.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.PixelData = stored.astype("<u2").tobytes()
    for name, value in more.items():
        setattr(file, name, value)
    opened = io.BytesIO()
    file.save_as(opened, enforce_file_format=True)
    return opened.getvalue()


GREY = np.array([[0, 1000], [2000, 4000]])


def test_dark_and_bright_are_what_the_file_holds() -> None:
    assert decode(dicom(GREY))[:, :, 0].tolist() == [[0, 64], [128, 255]]
    assert decode(dicom(GREY, PhotometricInterpretation="MONOCHROME1"))[:, :, 0].tolist() == [[255, 191], [128, 0]]


def test_the_files_own_window_is_what_is_shown() -> None:
    shown = decode(dicom(GREY, WindowCenter=1000, WindowWidth=2000))[:, :, 0]
    assert shown[0, 0] == 0
    assert shown[1].tolist() == [255, 255]
    assert 120 <= shown[0, 1] <= 136


def test_damage_and_a_missing_pydicom_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dicom(GREY)
    with pytest.raises(BrokenImage, match="damaged or cut short"):
        decode(whole[:-3])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(BrokenImage, match="needs pydicom: pip install pydicom"):
        decode(whole)
