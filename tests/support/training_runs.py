"""What tests read of a training."""

import json
from pathlib import Path


def history_of(directory: Path) -> list[dict]:
    """The history without what depends on the clock."""
    entries = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in ("seconds", "images_per_second")} for entry in entries]
