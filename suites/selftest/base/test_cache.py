"""The cache: entries that are whole or absent, names by content, and where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.base import cache
from harness.base.errors import UserError
from harness.clusters.run_record import state_directory


@pytest.mark.parametrize("given", [True, False], ids=["XDG", "default"])
def test_the_users_directories(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "/large/disk" if given else "")
    cached, state = ("/large/disk",) * 2 if given else ("/home/me/.cache", "/home/me/.local/state")
    assert cache.cache_directory() == Path(cached, "eastwest")
    assert state_directory() == Path(state, "eastwest")


def test_an_entry_is_whole_or_absent(tmp_path: Path) -> None:
    def fails(directory: Path) -> None:
        (directory / "half").write_text("")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.entry(tmp_path / "thing", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.lock"]
    built = cache.entry(tmp_path / "thing", lambda directory: (directory / "file").touch())
    assert (built / "file").exists()
    assert cache.entry(tmp_path / "thing", fails) == built


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def fills(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="is full"):
        cache.entry(tmp_path / "thing", fills)
    with pytest.raises(UserError, match=r"has [\d.]+ GiB free"):
        cache.require_space(tmp_path, 1e9, "Building")


def test_two_processes_build_an_entry_once(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from harness.base.cache import entry\n"
        "def build(directory): time.sleep(0.3); print('built')\n"
        "entry(Path(sys.argv[1]), build)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "thing"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    output = [process.communicate()[0] for process in processes]
    assert "".join(output) == "built\n"
    assert all(process.returncode == 0 for process in processes)


def test_digests_tell_apart_what_only_joins_alike(tmp_path: Path) -> None:
    assert cache.digest_of("ab", "c") != cache.digest_of("a", "bc")
    (tmp_path / "file").write_text("a")
    before = cache.digest_of_files(tmp_path)
    (tmp_path / "file").chmod(0o755)
    assert cache.digest_of_files(tmp_path) != before
