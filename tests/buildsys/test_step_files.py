"""What a step knows of its own files, and which variables these do not change."""

from __future__ import annotations

from pathlib import Path

from steps_bench import StepsBench, steps


async def test_the_github_context_names_the_files_of_the_step(tmp_path: Path) -> None:
    planned = steps(
        'test "${{ github.env }}${{ github.path }}" = "$GITHUB_ENV$GITHUB_PATH" && '
        'test "${{ github.state }}${{ github.step_summary }}" = "$GITHUB_STATE$GITHUB_STEP_SUMMARY" && '
        'echo a=1 >> "${{ github.output }}"',
        'echo "${{ steps.s1.outputs.a }} [${{ github.action_status }}]"',
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is False
        assert bench.log(2) == "1 []\n"


async def test_what_says_which_build_it_is_keeps_its_value(tmp_path: Path) -> None:
    planned = steps(
        'printf "%s=x\\n" BUILDSYS_COMMIT BUILD_ID FREE >> "$GITHUB_ENV"', 'echo "$BUILDSYS_COMMIT $BUILD_ID $FREE"'
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is False
        warning = "buildsys: warning: GITHUB_ENV: default variables cannot be changed: BUILDSYS_COMMIT\n"
        assert bench.log(1) == warning
        assert bench.log(2) == "c0 x x\n"
