"""Uploading an exported folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from memrl.errors import ConfigError, PushError


def check_name(repo: str) -> None:
    """Refuse a repository name that the Hub would.

    Raises:
        ConfigError: it is none.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"--push {repo!r} is no repository's name, OWNER/NAME: {error}") from error


def push(folder: Path, repo: str) -> str:
    """Upload a finished folder to the model repository `repo`, which is made, private, where there is none.

    The token is the one that huggingface_hub finds: HF_TOKEN, or that of `hf auth login`; the Hub's address is
    HF_ENDPOINT, if that is set.

    Returns:
        The commit's address.

    Raises:
        PushError: the Hub refuses, or nobody answers. The folder stays as it is.
    """
    hub = HfApi()
    try:
        made = hub.create_repo(repo, private=True, exist_ok=True)
        commit = hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="memrl export")
    except (HTTPError, OSError, ValueError) as error:  # refused; nobody there, or offline mode; a card it finds wrong
        asked = "refuses" if isinstance(error, HfHubHTTPError | ValueError) else "cannot be reached"
        raise PushError(
            f"{folder} is finished but was not uploaded: {hub.endpoint} {asked} ({' '.join(str(error).split())}). "
            f"Check the token (HF_TOKEN, or `hf auth login`) and the connection; then: hf upload {repo} {folder} ."
        ) from error
    return str(commit.commit_url)
