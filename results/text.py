"""Data frames as text and files for other programs."""

import io
import json
from typing import TYPE_CHECKING

from results.errors import optional
from results.labels import spreadsheet_text

if TYPE_CHECKING:
    from pandas import DataFrame


def to_csv(frame: "DataFrame") -> str:
    """The frame as CSV with a header line; numbers read back exactly, missing values are empty; no formulas."""
    return frame.map(spreadsheet_text).to_csv(index=False, lineterminator="\n")


def to_json(frame: "DataFrame") -> str:
    """The frame as a JSON list of objects, one a row; numbers read back exactly, missing values are null."""
    plain = frame.astype(object).where(frame.notna(), None)
    return json.dumps(plain.to_dict("records"), indent=2, allow_nan=False, ensure_ascii=False)


def to_parquet(frame: "DataFrame") -> bytes:
    """The frame as a Parquet file, with the types of its columns.

    Raises:
        HarnessError: where pyarrow is not installed.
    """
    optional("pyarrow", "parquet")
    content = io.BytesIO()
    frame.to_parquet(content, engine="pyarrow", index=False)
    return content.getvalue()
