"""A result file is either the complete new one or the untouched old one."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import output_folder, replacing


def write(path: Path, text: str = "new") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    target.write_text("old")
    write(target)
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_old_file_is_untouched_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "result.tif"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert temporary.suffix == target.suffix  # writers choose the format by the suffix


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_failure_or_cancel_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "result.csv"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_closing_a_job_removes_what_it_was_writing(tmp_path: Path) -> None:
    def job():
        with replacing(tmp_path / "frames.tif") as temporary:
            temporary.write_text("half")
            yield

    running = job()
    next(running)
    running.close()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match=r"result\.csv.*disk is full.*Free some space"):
        write_half(tmp_path / "result.csv", full)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_without_error_number_is_reported_too(tmp_path: Path) -> None:
    # numpy's tofile says only "1000 requested and 10 written"
    with pytest.raises(InputError, match="the disk is full"):
        write_half(tmp_path / "a.tif", OSError("1000 requested and 10 written"))


def test_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.tif"):
        (tmp_path / "input.tif").read_bytes()


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*no such folder.*Create the folder"):
        write(tmp_path / "nowhere" / "result.csv")


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "result.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path / "result.csv")


def test_output_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    assert output_folder(folder) == folder


@pytest.mark.parametrize("inside", ["", "below"])
def test_output_folder_that_is_a_file(tmp_path: Path, inside: str) -> None:
    (tmp_path / "notes").write_text("text")
    with pytest.raises(InputError, match=r"notes.*not a folder.*Choose another folder"):
        output_folder(tmp_path / "notes" / inside)
    assert (tmp_path / "notes").read_text() == "text"


def test_output_folder_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(InputError, match=r"locked.*not permitted"):
        output_folder(folder)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs the Linux /proc file system")
def test_output_folder_on_a_file_system_without_files() -> None:
    with pytest.raises(InputError, match=r"/proc.*[Cc]hoose|/proc.*Check"):
        output_folder(Path("/proc"))


def test_an_error_that_names_the_absolute_path_is_explained(tmp_path, monkeypatch):
    """As tifffile does for a relative path on a read-only disk."""
    monkeypatch.chdir(tmp_path)

    def fail():
        with replacing(Path("a.tif")) as temporary:
            raise OSError(errno.EROFS, "Read-only file system", str(temporary.resolve()))

    with pytest.raises(InputError, match=r"cannot write 'a\.tif': the disk is read-only"):
        fail()


def test_a_temporary_file_can_be_handed_to_another_writer(tmp_path):
    """The error then names the file the user asked for, and no other name appears on the disk."""
    with replacing(tmp_path / "a.txt") as outer:
        with replacing(outer) as inner:
            assert inner == outer
            inner.write_text("once")
        assert [p.name for p in tmp_path.iterdir()] == [outer.name]
    assert (tmp_path / "a.txt").read_text() == "once"


def test_what_a_killed_process_left_is_removed_when_the_file_is_next_written(tmp_path):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    begin = (
        "from pathlib import Path; from napari_unfold.files.atomic import replacing\n"
        f"with replacing(Path('a.txt')) as file: file.write_text('half'); {kill}"
    )
    subprocess.run([sys.executable, "-c", begin], cwd=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "b.txt")
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(tmp_path / "a.txt") as other, replacing(tmp_path / "a.txt") as temporary:
        assert other.parent == tmp_path
        other.write_text("other")
        temporary.write_text("new")  # and what is being written stays
        assert sorted(tmp_path.iterdir()) == sorted([other, temporary, tmp_path / "b.txt"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full")):
        with pytest.raises(InputError, match="is a device or a pipe"):
            write(path)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
def test_names_that_no_file_has(tmp_path, name):
    with pytest.raises(InputError, match="Choose a"):
        write(tmp_path / name)
