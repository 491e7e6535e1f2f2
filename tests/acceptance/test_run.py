"""`buildsys run`: a folder's workflows on this machine, as somebody runs them before a push."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from docker_image import base_image, require_engine
from run_place import NO_ENGINE, Place, printed

ONE = "on: push\njobs: {only: {runs-on: ubuntu-latest, steps: [{run: 'STEP'}]}}\n"

TREE = """
on: push
jobs:
  look:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: |
          cat kept changed "un tracked"
          test ! -e ignored && test ! -e deleted && test -x script && test -z "$(git status --porcelain)"
          test "$(git rev-parse HEAD)" = "$GITHUB_SHA"
          echo from the build > kept
      - uses: actions/checkout@v4
      - run: test "$(cat kept)" = kept && test -z "$(git status --porcelain)"
      - {uses: actions/checkout@v4, with: {path: all, fetch-depth: 0, fetch-tags: true}}
      - run: test "$(git -C all rev-parse HEAD)" = "$GITHUB_SHA"
"""

WITHHELD = """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    outputs: {open: '${{ steps.s.outputs.open }}', hidden: '${{ steps.s.outputs.hidden }}'}
    steps: [{id: s, run: 'printf "open=1\\nhidden=%s\\n" "${{ secrets.KEY }}" >> $GITHUB_OUTPUT'}]
  b:
    needs: a
    runs-on: ubuntu-latest
    steps: [run: 'echo "[${{ needs.a.outputs.open }}${{ needs.a.outputs.hidden }}]"']
"""

ORDER = """
on: push
jobs:
  first:
    runs-on: ubuntu-latest
    outputs: {parts: '${{ steps.pick.outputs.parts }}'}
    steps: [{id: pick, run: 'echo "parts=[1, 2]" >> $GITHUB_OUTPUT'}]
  part:
    needs: first
    runs-on: ubuntu-latest
    strategy: {matrix: {number: '${{ fromJSON(needs.first.outputs.parts) }}'}}
    steps: [{run: 'date +begin=%s%N; sleep 1; date +end=%s%N'}]
  last:
    needs: part
    runs-on: ubuntu-latest
    steps: [{run: 'echo "parts: ${{ needs.part.result }}"'}]
  unasked:
    runs-on: ubuntu-latest
    steps: [{run: exit 1}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, K="s3cret")


@pytest.mark.parametrize("history", ["committed", "no commit yet", "no repository"])
async def test_what_is_built_is_the_working_tree_as_it_is(place: Place, history: str) -> None:
    place.write({"kept": "kept\n", "changed": "old\n", "deleted": "x", ".gitignore": "ignored\n"})
    if history != "no repository":
        place.git("init", "--quiet", "-b", "topic")
    if history == "committed":
        place.git("add", "--all")
        place.git("commit", "--quiet", "-m", "First")
    files = {".buildsys.yml": TREE, "changed": "new\n", "un tracked": "untracked\n", "script": "", "ignored": "x"}
    place.write(files)
    (place.folder / "deleted").unlink()
    (place.folder / "script").chmod(0o755)
    ended = await place.run()
    assert ended.code == 0, ended.text
    assert [line for line in printed(ended) if line in ("kept", "new", "untracked")] == ["kept", "new", "untracked"]


async def test_a_tree_without_changes_is_its_own_commit(place: Place) -> None:
    place.write({".buildsys.yml": ONE.replace("STEP", "echo $GITHUB_SHA of $GITHUB_REF_NAME, $GITHUB_REPOSITORY")})
    place.git("init", "--quiet", "-b", "topic")
    place.git("remote", "add", "origin", "git@forge.example.org:ours/thing.git")
    place.git("add", "--all")
    place.git("commit", "--quiet", "-m", "First")
    ended = await place.run()
    assert f"{place.git('rev-parse', 'HEAD')} of topic, ours/thing" in printed(ended), ended.text


async def test_jobs_run_in_their_order_and_beside_each_other(place: Place) -> None:
    place.write({".github/workflows/ci.yml": ORDER})
    for slots, together in (("2", True), ("1", False)):
        ended = await place.run("--job", "last", "--jobs", slots)
        assert ended.code == 0, ended.text
        assert "last │   parts: success" in ended.text
        assert "unasked" not in ended.text
        begun, done = (sorted(map(int, re.findall(rf" {word}=(\d+)", ended.text))) for word in ("begin", "end"))
        assert (begun[1] < done[0]) == together


async def test_jobs_of_one_group_wait_for_each_other(place: Place) -> None:
    jobs = """
  {name}:
    runs-on: ubuntu-latest
    concurrency: {{group: Deploy, queue: max}}
    steps: [{{run: 'date +begin=%s%N; sleep 0.5; date +end=%s%N'}}]
"""
    place.write({".buildsys.yml": "on: push\njobs:" + "".join(jobs.format(name=name) for name in "abc")})
    ended = await place.run("--jobs", "3")
    assert ended.code == 0, ended.text
    begun, done = (sorted(map(int, re.findall(rf" {word}=(\d+)", ended.text))) for word in ("begin", "end"))
    assert len(done) == 3
    assert all(before < after for before, after in zip(done, begun[1:], strict=False))
    single = jobs.replace("max", "single")
    place.write({".buildsys.yml": "on: push\njobs:" + "".join(single.format(name=name) for name in "abc")})
    replaced = await place.run("--jobs", "3")
    assert "canceled by c, which is newer in the concurrency group 'deploy'" in replaced.text


async def test_a_failed_build_a_broken_one_and_how_they_say_so(place: Place) -> None:
    place.write({".buildsys.yml": ONE.replace("STEP", "echo why it failed; exit 7")})
    ended = await place.run()
    assert (ended.code, "failed · exit 7" in ended.text, "why it failed" in printed(ended)) == (1, True, True)
    place.write({".buildsys.yml": ONE.replace("STEP", "true").replace("ubuntu-latest", "windows-latest")})
    ended = await place.run()
    assert ended.code == 3
    assert "no_runner: here is none with the label windows-latest; --image LABEL=IMAGE gives it one" in ended.text


async def test_groups_annotations_and_summaries_have_their_places(place: Place) -> None:
    steps = """
      - run: |
          echo "::group::Inner things"; echo in it; echo "::endgroup::"; echo behind it
          echo "::error file=a.py,line=3,title=Wrong::a message%0Aof two lines"
          echo "## All *good*" >> $GITHUB_STEP_SUMMARY
"""
    place.write({".buildsys.yml": f"on: push\njobs:\n  only:\n    runs-on: ubuntu-latest\n    steps:{steps}"})
    ended = await place.run()
    assert "  ▸ Inner things\n    in it\n  behind it\n" in ended.text
    assert ended.text.count("error: Wrong: a message of two lines (a.py:3)") == 2
    assert re.search(r"\nSummary of only / Run .*\n  ## All \*good\*\n", ended.text)
    assert re.search(r"\njob +outcome +took *\nonly +success +\d+\.\d s\n\n✓ success · \d+\.\d s\n$", ended.text)


async def test_secrets_come_from_the_environment_and_are_not_shown(place: Place) -> None:
    place.write({".buildsys.yml": ONE.replace("STEP", "test ${{ secrets.key }} = s3cret && echo ${{ secrets.key }}")})
    refused = await place.run()
    assert (refused.code, refused.text) == (2, "")
    assert "the secret KEY is missing: give --secret KEY" in refused.errors
    given = await place.run("--secret", "key=s3cret")
    assert (given.code, "***" in printed(given), "s3cret" in given.text) == (0, True, False)
    place.write({".buildsys.yml": ONE.replace("STEP", "test ${{ secrets.k }} = s3cret && test ${{ vars.w }} = x")})
    assert (await place.run("--secret", "K", "--var", "w=x")).code == 0


async def test_an_output_that_is_withheld_is_named(place: Place) -> None:
    place.write({".buildsys.yml": WITHHELD})
    ended = await place.run("--secret", "KEY=s3cret")
    assert (ended.code, "b │   [1]" in ended.text) == (0, True), ended.text
    assert "Withheld outputs: hidden" in ended.text
    assert "warning: output 'hidden' is withheld, since it may hold a secret" in ended.text


async def test_a_wrong_file_is_shown_where_it_is_wrong(place: Place) -> None:
    place.write({".buildsys.yml": ONE.replace("runs-on", "run-on")})
    ended = await place.run()
    assert ended.code == 2
    assert ".buildsys.yml:2:15: error: jobs.only.run-on:" in ended.text
    assert "     2 | jobs: {only: {run-on: " in ended.text
    assert "       |               ^\n" in ended.text


async def test_without_an_engine_it_says_so_and_builds_with_processes(tmp_path: Path) -> None:
    place = Place(tmp_path, DOCKER_HOST=NO_ENGINE)
    place.write({".buildsys.yml": ONE.replace("STEP", "echo done")})
    ended = await place.run(driver="auto")
    assert (ended.code, "done" in printed(ended)) == (0, True)
    assert "building with plain processes instead" in ended.errors
    asked = await place.run(driver="docker")
    assert (asked.code, asked.text.splitlines()[1:]) == (3, [])
    assert "/nonexistent/docker.sock" in asked.errors


@pytest.mark.docker
async def test_in_containers(place: Place) -> None:
    require_engine()
    place.write({"file": "from the tree\n", ".buildsys.yml": ONE.replace("STEP", "cat file; ls /")})
    ended = await place.run("--image", f"ubuntu-latest={base_image()}", "--image", "none:1", driver="docker")
    assert ended.code == 0, ended.text
    assert {"from the tree", "buildsys"} <= set(printed(ended))


@pytest.mark.docker
async def test_volumes_are_for_those_who_trust_the_folder(place: Place, tmp_path: Path) -> None:
    require_engine()
    host = tmp_path / "of the host"
    host.mkdir()
    (host / "file").write_text("from the host\n")
    workflow = f"""
        on: push
        jobs:
          a:
            runs-on: ubuntu-latest
            container: {{image: '{base_image()}', volumes: ['{host}:/host:ro']}}
            steps: [run: cat /host/file]
    """
    place.write({".buildsys.yml": workflow})
    refused = await place.run(driver="docker")
    assert (refused.code, "'buildsys run --trusted'" in refused.text) == (1, True), refused.text
    trusted = await place.run("--trusted", driver="docker")
    assert (trusted.code, "from the host" in printed(trusted)) == (0, True), trusted.text


async def test_programs_get_an_object_a_line(place: Place) -> None:
    place.write({".buildsys.yml": ONE.replace("STEP", "echo one; echo two; exit 3")})
    ended = await place.run("--json")
    events = [json.loads(line) for line in ended.text.splitlines()]
    assert [line for each in events if each.get("step") == 1 for line in each.get("lines", ())] == ["one", "two"]
    last = events[-1]
    assert (ended.code, last["kind"], last["outcome"]) == (1, "run_stopped", "failed")
    (job,) = last["builds"][0]["jobs"]
    assert (job["id"], [step["exit_code"] for step in job["steps"]]) == ("only", [0, 3])
