"""GitHub's patterns for branches, tags and paths, against its "filter pattern cheat sheet".

A sentence begins with the part of the cheat sheet that it is in, told in our words; "Ours" is where that is silent.
"""

from __future__ import annotations

import time

import pytest

from buildsys.core.glob import MAX_LENGTH, Glob

Table = dict[str, list[tuple[str, list[str], list[str]]]]
"""By sentence: a pattern, names that fit it, names that do not."""

CHARACTERS: Table = {
    "Special characters: * is any number of characters but /": [
        ("Octo*", ["Octocat", "Octo"], ["octocat", "Octo/cat", "MyOctocat"]),
        ("*", ["main", "a.b-c", ""], ["a/b", "/"]),
        ("*-*", ["a-b", "-", "a-b-c"], ["ab", "a/b-c"]),
        ("a*c", ["ac", "abc", "abbc"], ["a/c", "abcd"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", "xa/bx"]),
    ],
    "Special characters: ** is any number of any characters": [
        ("**", ["main", "a/b", "a/b/c", ""], []),
        ("a**z", ["az", "abz", "a/b/z"], ["a/b", "xaz"]),
        ("**b**", ["b", "a/b/c", "abc"], ["a/c"]),
        ("***", ["", "a", "a/b"], []),
    ],
    "Special characters: ? is the character before it or nothing": [
        ("colou?r", ["color", "colour"], ["colouur", "colou", "colo?r"]),
        ("*.jsx?", ["page.js", "page.jsx"], ["page.jsxx", "a/page.js", "page.ts"]),
        ("a?", ["", "a"], ["aa", "b"]),
        ("/?x", ["x", "/x"], ["//x"]),
        (".?x", ["x", ".x"], ["ax"]),
    ],
    "Special characters: + is the character before it once or more": [
        ("ab+c", ["abc", "abbbc"], ["ac", "abb", "ab+c"]),
        ("v1.+", ["v1.", "v1..."], ["v1", "v1.0"]),
        ("é+", ["é", "ééé"], ["", "e"]),
    ],
    "Special characters: [] is one of the characters that are listed or in a range": [
        ("[CB]at", ["Cat", "Bat"], ["at", "cat", "CBat"]),
        ("[1-2]00", ["100", "200"], ["300", "1-200", "00"]),
        ("[0-9a-z]x", ["0x", "9x", "ax", "zx"], ["Ax", "-x", "x"]),
        ("[A-Z]", ["A", "Q", "Z"], ["a", "AA", "["]),
        ("[a-cX-Z_]?x", ["x", "bx", "Yx", "_x"], ["dx", "abx"]),
        ("[ab]+", ["a", "abba"], ["", "abc"]),
    ],
    "Special characters: ! has no meaning but at the start": [
        ("a!b", ["a!b"], ["ab", "axb"]),
        ("*!", ["a!"], ["a"]),
    ],
    "on.push: a special character is meant literally behind a backslash": [
        (r"a\*b", ["a*b"], ["axb", r"a\*b"]),
        (r"b\?\[c\]\\", ["b?[c]\\"], ["[c]\\", "ab"]),
        (r"c\+\+", ["c++"], ["c", "cc"]),
        (r"\!x", ["!x"], ["x", r"\!x"]),
        (r"\*\*", ["**"], ["a", "a/b"]),
        (r"\x", ["x"], [r"\x"]),
        (r"\.?a", ["a", ".a"], ["xa"]),
    ],
    "Ours: what other languages of patterns have means itself": [
        ("a.b", ["a.b"], ["axb"]),
        ("{a,b}", ["{a,b}"], ["a", "b"]),
        ("(a|b)$^", ["(a|b)$^"], ["a", "b"]),
        ("[!a]", ["!", "a"], ["b"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("[.]x", [".x"], ["ax"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("~a #b", ["~a #b"], []),
        ("]", ["]"], [""]),
    ],
    "Ours: a name is characters, whatever they are": [
        ("ü*", ["ünï", "ü"], ["unï"]),
        ("[ü€]", ["ü", "€"], ["u"]),
        ("a*b", ["a\nb", "a\0b", "a\u2028b"], ["a\n/b"]),
        ("**", ["a\nb/c\n"], []),
        ("\u0130", ["\u0130"], ["i", "I"]),
        ("*", ["\ud800"], []),
    ],
}

REFS: Table = {
    "Branches: * is any character but a slash": [
        ("feature/*", ["feature/my-branch", "feature/your-branch"], ["feature/a/b", "feature", "x/feature/a"]),
        ("*", ["main", "releases"], ["releases/1"]),
    ],
    "Branches: ** is any character and slashes": [
        ("feature/**", ["feature/beta-a/my-branch", "feature/your-branch", "feature/mona/the/octocat"], ["features/a"]),
        ("**", ["all/the/branches", "every/tag"], []),
        ("releases/**-alpha", ["releases/10-alpha", "releases/beta/3-alpha"], ["releases/10", "beta/3-alpha"]),
    ],
    "Branches: a name is the exact name of a branch or tag": [
        ("main", ["main"], ["Main", "mai", "main2", "a/main", "refs/heads/main", ""]),
        ("releases/mona-the-octocat", ["releases/mona-the-octocat"], ["releases/mona"]),
        ("mona/octocat", ["mona/octocat"], ["octocat"]),
    ],
    "Branches: a pattern may start with *": [
        ("*feature", ["mona-feature", "feature", "ver-10-feature"], ["a/feature", "feature2"]),
    ],
    "Branches: v2* is what starts with v2": [
        ("v2*", ["v2", "v2.0", "v2.9"], ["v1", "V2", "v2/a"]),
        ("v1.*", ["v1.9.1", "v1."], ["v1", "v10.0"]),
    ],
    "Branches: versions with the major number 1 or 2": [
        ("v[12].[0-9]+.[0-9]+", ["v1.10.1", "v2.0.0"], ["v3.0.0", "v1.10", "v1..1", "v1.0.0-rc1"]),
        ("release/v[0-9].[0-9]", ["release/v1.2"], ["release/v1.20"]),
    ],
}

PATHS: Table = {
    "Paths: * is every file at the root": [
        ("*", ["README.md", "server.rb"], ["docs/README.md"]),
        ("*.js", ["app.js", "index.js"], ["js/index.js", "app.jsx"]),
        ("*.md", ["hello.md", "README.md"], ["docs/hello.md"]),
        ("README*", ["README.md", "README.doc", "README"], ["docs/README.md"]),
    ],
    "Paths: ** is any character and slashes": [
        ("**", ["all/the/files.md"], []),
        ("**.js", ["index.js", "js/index.js", "src/js/app.js"], ["app.jsx"]),
    ],
    "Paths: docs/* are the files in that folder only": [
        ("docs/*", ["docs/README.md", "docs/file.txt"], ["docs/a/b.md", "a/docs/b.md", "docs"]),
    ],
    "Paths: docs/** are the files in and below a folder at the root": [
        ("docs/**", ["docs/README.md", "docs/mona/octocat.txt"], ["a/docs/b.md", "docs", "docs2/a"]),
    ],
    "Paths: docs/**/*.md is a suffix anywhere below docs": [
        (
            "docs/**/*.md",
            ["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"],
            ["docs/a.txt", "README.md", "docs.md", "docsREADME.md"],
        ),
    ],
    "Paths: **/docs/** is a folder docs anywhere": [
        (
            "**/docs/**",
            ["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"],
            ["mydocs/hello.md", "docs2/a", "docs"],
        ),
    ],
    "Paths: **/README.md is a file of that name anywhere": [
        ("**/README.md", ["README.md", "js/README.md", "a/b/README.md"], ["myREADME.md", "js/myREADME.md"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "x/a/b"]),
        ("**/**/c", ["c", "a/c", "a/b/c"], ["ac"]),
    ],
    "Paths: **/*src/** is a folder with that suffix anywhere": [
        ("**/*src/**", ["a/src/app.js", "my-src/code/js/app.js", "src/x"], ["src", "a/srcs/app.js"]),
    ],
    "Paths: **/*-post.md is a file with that suffix anywhere": [
        ("**/*-post.md", ["my-post.md", "path/their-post.md", "-post.md"], ["my-post.md5", "post.md"]),
    ],
    "Paths: **/migrate-*.sql is a prefix and a suffix anywhere": [
        (
            "**/migrate-*.sql",
            ["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"],
            ["db/migrate-a/b.sql", "xmigrate-1.sql"],
        ),
    ],
    "Paths: a pattern is the whole path, from the repository's root": [
        ("src", ["src"], ["src/a", "a/src"]),
        ("src/", ["src/"], ["src/a"]),
        ("/README.md", ["/README.md"], ["README.md"]),
        ("./README.md", ["./README.md"], ["README.md"]),
    ],
}

INVALID: dict[str, list[tuple[str, str]]] = {
    "Special characters: ? and + are of a character before them": [
        ("?", "'?' must follow a character"),
        ("+a", "'\\+' must follow"),
        ("a**?", "'\\?' must follow"),
        ("a?+", "'\\+' must follow"),
        ("*+", "must follow"),
        ("c++", "must follow a character; write \\\\\\+ for itself"),
        ("**/+", "must follow"),
    ],
    "Special characters: ranges are within a-z, A-Z and 0-9": [
        ("[z-a]", "'z-a' is not a range within"),
        ("[a-9]", "'a-9' is not a range"),
        ("[A-z]", "'A-z' is not a range"),
        ("[ä-ö]", "is not a range"),
    ],
    "Ours: brackets are closed and hold something, a backslash has a character behind it": [
        ("[", "'\\[' without a '\\]'"),
        ("[a", "'\\[' without a '\\]'"),
        ("[]", "lists no character"),
        ("[]]", "lists no character"),
        ("a\\", "nothing follows the last"),
    ],
    "Ours: a pattern has an end": [("x" * (MAX_LENGTH + 1), "at most 1000 characters")],
}


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        pytest.param(*row, id=f"{sentence} | {row[0]}")
        for table in (CHARACTERS, REFS, PATHS)
        for sentence, rows in table.items()
        for row in rows
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    glob = Glob.parse(pattern)
    assert [name for name in matching if not glob.matches(name)] == []
    assert [name for name in others if glob.matches(name)] == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [pytest.param(*row, id=f"{sentence} | {row[0][:20]}") for sentence, rows in INVALID.items() for row in rows],
)
def test_what_is_no_pattern(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Glob.parse(pattern)


@pytest.mark.parametrize("pattern", ["*a" * 300 + "!", "**b" * 300 + "!", "a?" * 400 + "a" * 150, "[a-z]+" * 160 + "!"])
def test_a_hostile_pattern_takes_no_longer_than_another(pattern: str) -> None:
    names = ["a" * 4000] * 10
    begun = time.process_time()
    glob = Glob.parse(pattern)
    assert not any(glob.matches(name) for name in names)
    assert time.process_time() - begun < 2


def test_ten_thousand_names_take_a_moment() -> None:
    glob = Glob.parse("src/**/[a-z]+_test.py")
    begun = time.process_time()
    assert sum(glob.matches(f"src/part{number}/deep/er/name_test.py") for number in range(10_000)) == 10_000
    assert time.process_time() - begun < 1
