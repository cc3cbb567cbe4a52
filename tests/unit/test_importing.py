"""Files and folders in, drafts out: on a real file system, through `read_articles` and `find_markdown`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedq_worker.content.chunking import split_markdown
from embedq_worker.content.importing import ArticleDraft, Skipped, find_markdown, read_articles, slugify
from embedq_worker.errors import UsageError

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(root: Path, name: str, content: str | bytes = "words") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_one(root: Path, content: str | bytes, name: str = "note.md") -> ArticleDraft:
    write(root, name, content)
    (draft,) = read_articles([root])
    assert isinstance(draft, ArticleDraft), draft
    return draft


def drafts(*paths: Path) -> list[ArticleDraft]:
    return [item for item in read_articles(paths) if isinstance(item, ArticleDraft)]


def skipped(*paths: Path) -> list[Skipped]:
    return [item for item in read_articles(paths) if isinstance(item, Skipped)]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Rights do not bind root: act as somebody they bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestFinding:
    def test_goes_down_in_a_stable_order_and_leaves_out_what_is_hidden(self, tmp_path: Path) -> None:
        for name in (
            "b.md",
            "a/z.markdown",
            "a/b/c.MDOWN",
            "a.txt",
            ".git/x.md",
            "a/.x.md",
            "node_modules/x.md",
        ):
            write(tmp_path, name)
        assert find_markdown([tmp_path]) == [
            (tmp_path, tmp_path / name) for name in ("a/b/c.MDOWN", "a/z.markdown", "b.md")
        ]

    def test_a_named_file_is_taken_whatever_its_suffix(self, tmp_path: Path) -> None:
        note = write(tmp_path, "sub/NOTES.txt", "# Notes")
        assert find_markdown([note]) == [(note.parent, note)]
        (draft,) = drafts(note)
        assert (draft.slug, draft.title, draft.folder) == ("notes", "Notes", None)

    def test_a_file_reached_twice_is_read_once_below_the_first_root(self, tmp_path: Path) -> None:
        inner = write(tmp_path, "guide/install.md").parent
        assert [draft.slug for draft in drafts(tmp_path, inner)] == ["guide-install"]
        assert [draft.slug for draft in drafts(inner, tmp_path)] == ["install"]

    def test_links_to_folders_do_not_lead_in_circles_and_links_to_files_are_read(
        self, tmp_path: Path
    ) -> None:
        outside = write(tmp_path, "outside/text.md")
        inside = write(tmp_path, "tree/sub/a.md").parent
        (inside / "up").symlink_to(tmp_path / "tree")
        (inside / "away").symlink_to(tmp_path / "outside")
        (inside / "linked.md").symlink_to(outside)
        assert [draft.slug for draft in drafts(tmp_path / "tree")] == ["sub-a", "sub-linked"]
        assert [draft.slug for draft in drafts(inside / "away")] == ["text"]

    def test_a_path_that_does_not_exist_is_wrong_use_and_named_before_anything_is_read(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, "a.md")
        with pytest.raises(UsageError) as raised:
            read_articles([tmp_path, tmp_path / "nowhere"])
        assert "nowhere" in str(raised.value)

    def test_a_folder_that_cannot_be_listed_is_told(self) -> None:
        with TemporaryDirectory() as name:  # tmp_path is below a folder that is closed to others
            root = Path(name)
            root.chmod(0o755)
            write(root, "open/a.md")
            closed = write(root, "closed/b.md").parent
            closed.chmod(0)
            list(read_articles([root / "open"]))  # loads what it needs while it may be read
            with as_nobody():
                items = list(read_articles([root]))
            closed.chmod(0o755)
        assert [type(item) for item in items] == [Skipped, ArticleDraft]
        assert items[0].source == str(closed)


class TestTitle:
    @pytest.mark.parametrize(
        ("content", "title"),
        [
            ("---\ntitle: Stated\n---\n# Heading", "Stated"),
            ("---\ntitle:\n---\n# Heading", "Heading"),
            ("---\ntitle: 1.10\n---\n", "1.10"),
            ('---\ntitle: "  two\\nlines\\0\\ud800 "\n---\n', "two lines"),
            ("words\n\n## Lower\n\n# The `try` *statement* #\n", "The try statement"),
            ("Setext [link](http://x/)\n=====\n", "Setext link"),
            ("```sh\n# a comment\n```\n\n# Real\n", "Real"),
            ("~~~\n# a comment\n", "Install guide"),
            ("    # code\n\n> # quoted\n\n- # listed\n\n<!--\n# hidden\n-->\n", "Install guide"),
            ("#\n", "Install guide"),
            ("", "Install guide"),
        ],
    )
    def test_front_matter_then_first_heading_then_file_name(
        self, tmp_path: Path, content: str, title: str
    ) -> None:
        assert read_one(tmp_path, content, "install-guide.md").title == title

    @pytest.mark.parametrize("heading", ["# <b>Foo</b> *bar* &amp; [baz](u)", "# <Button>"])
    def test_a_title_is_its_heading_as_chunks_have_it(self, tmp_path: Path, heading: str) -> None:
        draft = read_one(tmp_path, f"{heading}\n\nText.")
        [chunk] = split_markdown(draft.content, size=500, overlap=50)
        assert chunk.heading_path == (draft.title,)

    def test_a_long_title_is_cut(self, tmp_path: Path) -> None:
        title = read_one(tmp_path, "# " + "word " * 200).title
        assert len(title) == 500
        assert title.startswith("word word")

    @FEW
    @given(st.text(st.sampled_from("# =ab*_`\\<&!~\t\n\r\x01"), max_size=20))
    def test_is_the_same_whether_or_not_the_whole_has_to_be_parsed(self, tmp_path: Path, text: str) -> None:
        # The comment is no heading, and ends before the text; nothing else comes before it.
        assert read_one(tmp_path, text).title == read_one(tmp_path, "<!-- <b> -->\n\n" + text).title


class TestSlug:
    @pytest.mark.parametrize(
        ("name", "slug"),
        [
            ("Guide/Install Me.md", "guide-install-me"),
            ("a/b/../b/c_d.e.md", "a-b-c-d-e"),
            ("Café/Über größe.md", "cafe-uber-grosse"),
            ("入门/安装.md", "入门-安装"),
            ("Русский Й.md", "русскии-и"),
            ("हिन्दी.md", "हिन्दी"),
            ("한국어.md", "한국어"),
        ],
    )
    def test_follows_the_path(self, tmp_path: Path, name: str, slug: str) -> None:
        assert read_one(tmp_path, "", name).slug == slug

    def test_a_name_without_letters_gets_a_slug_of_its_own(self, tmp_path: Path) -> None:
        write(tmp_path, "!!!.md")
        write(tmp_path, "???.md")
        slugs = {draft.slug for draft in drafts(tmp_path)}
        assert len(slugs) == 2
        assert all(slugify(slug) == slug for slug in slugs)

    @pytest.mark.parametrize(
        ("stated", "slug"),
        [
            ("Old_Slug.v2", "Old_Slug.v2"),
            ("x" * 255, "x" * 255),
            ("/docs/My Page/", "docs-my-page"),
            ("///", "note"),
        ],
    )
    def test_a_stated_slug_is_kept_where_it_can_be(self, tmp_path: Path, stated: str, slug: str) -> None:
        assert read_one(tmp_path, f"---\nslug: {stated}\n---\n").slug == slug

    def test_long_paths_are_cut_and_stay_apart(self, tmp_path: Path) -> None:
        for last in "ab":
            write(tmp_path, f"{'d' * 200}/{'e' * 200}{last}.md")
        slugs = [draft.slug for draft in drafts(tmp_path)]
        assert len(set(slugs)) == 2
        assert all(200 < len(slug) <= 240 for slug in slugs)

    def test_the_second_file_of_a_slug_is_skipped_and_the_first_named(self, tmp_path: Path) -> None:
        first = write(tmp_path, "a-b.md")
        second = write(tmp_path, "a/b.md")
        other = write(tmp_path, "z.md", "---\nslug: a-b\n---\n")
        taken, *others = sorted((first, second, other), key=lambda path: path.relative_to(tmp_path).parts)
        assert [draft.source for draft in drafts(tmp_path)] == [str(taken)]
        assert [item.source for item in skipped(tmp_path)] == [str(path) for path in others]
        assert all(str(taken) in item.reason for item in skipped(tmp_path))

    @FEW
    @given(st.text(max_size=400))
    def test_slugs_are_flat_short_and_stable(self, text: str) -> None:
        slug = slugify(text)
        assert len(slug) <= 240
        assert slugify(slug) == slug
        assert not slug.startswith("-")
        assert not slug.endswith("-")
        assert "--" not in slug
        assert all(char == "-" or unicodedata.category(char)[0] in "LNM" for char in slug)
        assert slug or not any(char.isalnum() for char in text)


class TestFrontMatter:
    @pytest.mark.parametrize(
        ("stated", "folder"),
        [
            (None, "guide/set up"),
            ("''", "guide/set up"),
            ("/", ""),
            ("/ops/./day 2/../x/", "ops/day 2/x"),
            ("ops", "ops"),
        ],
    )
    def test_folder(self, tmp_path: Path, stated: str | None, folder: str) -> None:
        header = "" if stated is None else f"---\nfolder: {stated}\n---\n"
        assert read_one(tmp_path, header, "guide/set up/note.md").folder == folder

    @pytest.mark.parametrize(
        ("header", "is_public"),
        [
            ("x: 1", None),
            ("public: true", True),
            ("Is_Public: YES", True),
            ("is_public: off", False),
            ("draft: false", True),
            ("draft: true", False),
            ("draft: true\npublic: true", False),
            ("draft: false\npublic: false", False),
            ("public: ~", None),
        ],
    )
    def test_who_may_read(self, tmp_path: Path, header: str, is_public: bool | None) -> None:
        assert read_one(tmp_path, f"---\n{header}\n---\n").is_public is is_public

    @pytest.mark.parametrize(("value", "no_rag"), [("true", True), ("no", False), ("", None)])
    def test_no_rag(self, tmp_path: Path, value: str, no_rag: bool | None) -> None:
        assert read_one(tmp_path, f"---\nno_rag: {value}\n---\n").no_rag is no_rag

    def test_is_left_out_of_the_content_and_unknown_keys_are_ignored(self, tmp_path: Path) -> None:
        content = "---\r\ntags: [a, b]\r\nweight: 3\r\n---\r\n\r\n# T\r\n\r\ntext\r\n"
        assert read_one(tmp_path, content).content == "# T\r\n\r\ntext\r\n"

    @pytest.mark.parametrize(
        "content",
        [
            "---\n\nno second rule\n",
            "---\njust words\n---\nmore\n",
            "text\n\n---\na: 1\n---\n",
            "--\na: 1\n--\n",
        ],
    )
    def test_rules_are_not_front_matter(self, tmp_path: Path, content: str) -> None:
        assert read_one(tmp_path, content).content == content

    @pytest.mark.parametrize(
        "header",
        [
            "title: [open",
            "a: b: c",
            "a: *nowhere",
            "a: \x01",
            'a: "\\UFFFFFFFF"',
            "{[1]: 2}",
            "a: " + "[" * 20_000,
            "a: " + "{a: " * 9_000,
            "a: " + "x" * 70_000,
            "title: [a, b]",
            "slug: {a: b}",
            "no_rag: perhaps",
            "folder: " + "x" * 501,
        ],
        ids=lambda header: header[:12],
    )
    def test_what_cannot_be_understood_is_skipped_with_a_reason_of_one_line(
        self, tmp_path: Path, header: str
    ) -> None:
        path = write(tmp_path, "a.md", f"---\n{header}\n---\ntext")
        write(tmp_path, "b.md")
        broken, good = read_articles([tmp_path])
        assert isinstance(broken, Skipped)
        assert broken.source == str(path)
        assert len(broken.reason.splitlines()) == 1
        assert isinstance(good, ArticleDraft)

    def test_tags_of_yaml_run_nothing(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        header = f"title: !!python/object/apply:pathlib.Path.touch [{victim}]\nx: !!timestamp no\n"
        write(tmp_path, "a.md", f"---\n{header}\n---\n")
        assert len(skipped(tmp_path)) == 1
        assert not victim.exists()


class TestBytes:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_unicode_in_its_usual_encodings(self, tmp_path: Path, encoding: str) -> None:
        draft = read_one(tmp_path, "---\ntitle: Señal\n---\nö 漢 😀\r\n\0x\n".encode(encoding))
        assert draft.title == "Señal"
        assert draft.content == "ö 漢 😀\r\nx\n"

    @pytest.mark.parametrize("data", ["größe".encode("latin-1"), b"\xff\xfea", b"\x80"])
    def test_anything_else_is_skipped(self, tmp_path: Path, data: bytes) -> None:
        write(tmp_path, "a.md", data)
        assert len(skipped(tmp_path)) == 1

    def test_size_limit(self, tmp_path: Path) -> None:
        limit = 10 * 1024 * 1024
        write(tmp_path, "fits.md", b"x" * limit)
        big = write(tmp_path, "over.md", b"x" * (limit + 1))
        assert [draft.slug for draft in drafts(tmp_path)] == ["fits"]
        assert [item.source for item in skipped(tmp_path)] == [str(big)]

    def test_what_is_no_readable_file_is_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "dangling.md").symlink_to(tmp_path / "nowhere")
        (tmp_path / "circle.md").symlink_to(tmp_path / "circle.md")
        os.mkfifo(tmp_path / "pipe.md")
        assert len(skipped(tmp_path)) == 3
        assert len(skipped(Path("/dev/zero"))) == 1

    def test_a_file_that_vanishes_after_it_was_found_is_skipped(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md")
        gone = write(tmp_path, "b.md")
        items = read_articles([tmp_path])
        next(items)
        gone.unlink()
        assert [type(item) for item in items] == [Skipped]

    def test_file_names_need_not_be_unicode(self, tmp_path: Path) -> None:
        (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
        write(tmp_path, os.fsdecode(b"caf\xe9/\xff.md"))
        (draft,) = drafts(tmp_path)
        for text in (draft.slug, draft.title, draft.folder or "", draft.source):
            text.encode()

    @FEW
    @given(
        st.one_of(
            st.binary(max_size=200), st.from_regex(r"\A---\n(?s:.{0,80})\n---\n(?s:.{0,80})").map(str.encode)
        )
    )
    def test_no_file_stops_an_import(self, tmp_path: Path, data: bytes) -> None:
        write(tmp_path, "a.md", data)
        (item,) = read_articles([tmp_path])
        if isinstance(item, ArticleDraft):
            assert "\0" not in item.content
            assert 0 < len(item.title) <= 500
            assert 0 < len(item.slug) <= 255
            f"{item.title}{item.slug}{item.folder}{item.content}".encode()
