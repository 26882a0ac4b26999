from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from grasper.errors import ModelNotFoundError
from grasper.models import locate

GATED, ABSENT = (kind.__new__(kind, "401 Client Error") for kind in (GatedRepoError, RepositoryNotFoundError))  # made without a response


@pytest.mark.parametrize(
    ("error", "wrapped", "message"),
    [
        (GATED, False, "'owner/model' is gated: accept its licence on https://huggingface.co/owner/model, then log in with `hf auth login`"),
        (GATED, True, "is gated: accept its licence"),
        (ABSENT, False, "the Hub has no model 'owner/model', or shows it only to those who log in"),
        (OSError("disk full"), False, "could not be downloaded: OSError: disk full"),
    ],
)
def test_what_the_hub_refuses_is_explained(error: Exception, wrapped: bool, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that says what to do, also where the Hub's client wraps its own error."""

    def download(name: str, *, local_files_only: bool = False, **options: Any) -> Path:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        if wrapped:
            raise LocalEntryNotFoundError("see above") from error
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)
    with pytest.raises(ModelNotFoundError) as caught:
        locate.find_weights("owner/model")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
