"""A folder that goes with its process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memrl.errors import ConfigError
from memrl.storage.files import check_writable
from memrl.storage.scratch import Scratch
from tests.support import ROOT

HOLD = """
import time
from memrl.storage.scratch import Scratch
scratch = Scratch("memrl-test-")
(scratch.path / "file").write_text("x")
print(scratch.path, flush=True)
time.sleep(600)
"""


def test_a_scratch_folder_does_not_wait_for_a_child_of_its_process() -> None:
    fork = HOLD.replace("time.sleep(600)", "import os\nif os.fork():\n    os._exit(1)\ntime.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", fork], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        try:
            deadline = time.monotonic() + 30
            while folder.exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(holder.pid, 0)  # the child still lives
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_scratch_folder_goes_with_a_process_that_is_killed_with_its_children(how: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    assert (folder / "file").is_file()
    os.killpg(holder.pid, how)
    holder.wait()
    deadline = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_scratch_folder_is_removed_when_it_is_closed() -> None:
    scratch = Scratch("memrl-test-")
    assert scratch.path.is_dir()
    scratch.close()
    scratch.close()
    assert not scratch.path.exists()


def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"cannot be written: /proc: "):
        check_writable(Path("/proc/mine/file"))
