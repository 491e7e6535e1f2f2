"""Where the folders of jobs may be, and that no job starts in one that its user cannot reach."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest
from containers import Start, as_root

from buildsys.adapters.process import jobs_folder
from buildsys.core.driver import Driver
from buildsys.errors import DriverError


class TestWords:
    @pytest.mark.parametrize("name", ["a folder", "$HOME", "a*", "a\nb", "it's"])
    def test_jobs_live_where_a_path_is_one_word_to_a_shell(self, tmp_path: Path, name: str) -> None:
        """Workflows say `>> $GITHUB_OUTPUT`, without quotes, as GitHub's documentation does."""
        folder = jobs_folder(tmp_path / name, installation=uuid4().hex)
        assert folder.parent == Path("/var/tmp")
        assert folder.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
        folder.rmdir()


@as_root
class TestFolders:
    def test_a_reachable_folder_is_kept(self) -> None:
        private = Path("/var/tmp") / uuid4().hex
        private.mkdir(mode=0o711)
        assert jobs_folder(private, installation="x") == private
        private.rmdir()

    def test_a_private_one_is_replaced_by_one_that_cannot_be_listed(self, tmp_path: Path) -> None:
        folder = jobs_folder(tmp_path / "jobs", installation=uuid4().hex)
        assert folder.stat().st_mode & 0o777 == 0o711
        folder.rmdir()

    @pytest.mark.parametrize("plant", ["link", "file", "foreign"])
    def test_what_was_planted_at_its_place_is_refused(self, tmp_path: Path, plant: str) -> None:
        installation = uuid4().hex
        place = Path(f"/var/tmp/buildsys-0-{installation}")
        if plant == "link":
            place.symlink_to("/etc")
        elif plant == "file":
            place.touch()
        else:
            place.mkdir()
            os.chown(place, 64000, 64000)
        with pytest.raises((DriverError, FileExistsError)):
            jobs_folder(tmp_path / "jobs", installation=installation)
        assert Path("/etc").stat().st_mode & 0o777 == 0o755
        place.rmdir() if plant == "foreign" else place.unlink()

    @pytest.mark.parametrize("kind", ["process", "process-plain"], indirect=True)
    async def test_a_job_where_its_user_cannot_reach_it_is_refused(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        job.folder.parent.chmod(0o700)
        with pytest.raises(DriverError, match="jobs_folder"):
            await driver.start(job.spec)
        job.folder.parent.chmod(0o755)
