"""Hashes of frames: whether two contents are the same, whatever way they came.

What lives here: one hash that index, column order and storage types do not touch. What does not: what is compared.
"""

import hashlib

import numpy as np
import pandas as pd


def frame_hash(frame: pd.DataFrame) -> str:
    """Hash a frame's content, sixteen hexadecimal digits.

    Columns count by name, rows in order; index, column order, storage types and kinds of null do not.
    """
    digest = hashlib.sha256(str(len(frame)).encode())
    for name in sorted(frame.columns):
        digest.update(f"\x1e{name}\x1f".encode())
        digest.update(_bytes(frame[name]))
    return digest.hexdigest()[:16]


def _bytes(column: pd.Series) -> bytes:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.to_numpy("datetime64[us]").tobytes()
    if pd.api.types.is_numeric_dtype(column):
        # Booleans too; adding zero makes -0.0 and 0.0 one value.
        values = column.to_numpy("float64", na_value=np.nan) + 0.0
        values[np.isnan(values)] = np.nan
        return values.tobytes()
    missing = column.isna().to_numpy()
    texts = ("\x00" if no else str(value) for value, no in zip(column, missing, strict=True))
    return "\x1f".join(texts).encode()
