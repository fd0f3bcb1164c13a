"""Edits of a text change the lines of the edit, and no others."""

import difflib
import textwrap

import pytest
import yaml

from policies.documents.pointer import Pointer
from policies.remedies.edits import Append, Remove, SetMember
from policies.remedies.emptied import DocumentEdit
from webhook.fixes.plan import CannotMendError
from webhook.fixes.text import DocumentFix, FixableText


def at(path: str) -> Pointer:
    """A pointer from `a/0/b`; a `~1` is a slash."""
    tokens = (part.replace("~1", "/") for part in path.split("/"))
    return Pointer(int(token) if token.isdigit() else token for token in tokens)


def fix(*edits: DocumentEdit, number: int = 0) -> DocumentFix:
    return DocumentFix(number, edits)


def mended(text: str, *edits: DocumentEdit) -> str:
    """The text with the edits, all of which must be made."""
    result = FixableText(text).mended([fix(edit) for edit in edits])
    assert result.left == {}
    return result.text


def changed_lines(before: str, after: str) -> list[str]:
    """The lines of the difference with their signs."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def reason(text: str, *edits: DocumentEdit) -> str:
    """Why the edits, as one fix, are left; the text then stays."""
    result = FixableText(text).mended([fix(*edits)])
    assert result.text == text
    return result.left[0]


POD = textwrap.dedent(
    """\
    # The head.
    kind: Pod   # of Ray
    metadata: {name: ray, labels: {team: 'a'}}
    spec:
        type: "LoadBalancer"  # public
        containers:
        -   name: ray   # first
            image: ray:1
            securityContext:
                # Debugging needs it.
                privileged: true
            env:
            # One.
            - name: A
              value: "1"
            # Two.
            -   name: B
                value: |
                    x
                      y

            # After the list.
        # After the containers.
        options:
        empty: {}
    ---
    other: 1
    """
)


def test_a_value_keeps_its_quotes_and_comment() -> None:
    after = mended(POD, SetMember(at("spec/type"), "ClusterIP"))
    assert changed_lines(POD, after) == [
        '-     type: "LoadBalancer"  # public',
        '+     type: "ClusterIP"  # public',
    ]


def test_a_text_in_single_quotes_keeps_them() -> None:
    after = mended(POD, SetMember(at("metadata/labels/team"), "it's"))
    assert "labels: {team: 'it''s'}" in after


def test_a_new_member_gets_the_indentation_of_its_place() -> None:
    place = at("spec/containers/0/securityContext")
    edits = (
        SetMember(place / "allowPrivilegeEscalation", False),
        SetMember(place / "capabilities", {"drop": ["ALL"]}),
        SetMember(at("spec/hostPID"), False),
    )
    assert changed_lines(POD, mended(POD, *edits)) == [
        "+             allowPrivilegeEscalation: false",
        "+             capabilities:",
        "+                 drop:",
        "+                 - ALL",
        "+     hostPID: false",
    ]


def test_a_list_is_indented_as_others_are() -> None:
    text = "a:\n  b:\n    - 1\n"
    assert mended(text, SetMember(at("c"), [1])) == f"{text}c:\n  - 1\n"


def test_missing_parents_are_created() -> None:
    text = "a:\n  b: 1\n"
    assert mended(text, SetMember(at("c/d/e"), True)) == f"{text}c:\n  d:\n    e: true\n"


def test_null_becomes_an_object() -> None:
    after = mended(POD, SetMember(at("spec/options/a/b"), 1), SetMember(at("spec/empty/c"), 2))
    assert changed_lines(POD, after) == [
        "+         a:",
        "+             b: 1",
        "-     empty: {}",
        "+     empty: {c: 2}",
    ]


def test_values_that_yaml_reads_otherwise_are_quoted() -> None:
    values = ["y", "no", "0x1", "1e3", "~", "", "a: b", "# a", "- a", "1_0", "01", "*a", "<<"]
    edits = [SetMember(at(f"v{index}"), value) for index, value in enumerate(values)]
    after = mended("kind: A\n", *edits)
    assert list(yaml.safe_load(after).values())[1:] == values


def test_an_item_is_removed_with_its_lines() -> None:
    env = at("spec/containers/0/env")
    assert changed_lines(POD, mended(POD, Remove(env / 0))) == [
        "-         - name: A",
        '-           value: "1"',
    ]
    assert changed_lines(POD, mended(POD, Remove(env / 1))) == [
        "-         -   name: B",
        "-             value: |",
        "-                 x",
        "-                   y",
    ]


def test_what_becomes_empty_is_written_as_empty() -> None:
    env = at("spec/containers/0/env")
    place = at("spec/containers/0/securityContext/privileged")
    after = mended(POD, Remove(env / 0), Remove(env / 1), Remove(place))
    container = yaml.safe_load(after.partition("---")[0])["spec"]["containers"][0]
    assert container["env"] == [] and container["securityContext"] == {}
    comments = [line.strip() for line in POD.splitlines() if line.strip().startswith("#")]
    assert all(comment in after for comment in comments)


def test_the_first_member_after_a_dash_is_removed() -> None:
    text = "a:\n- b: 1\n  c: 2\n- b: 1  # one\n  # two\n  c: 2\n"
    after = mended(text, Remove(at("a/0/b")), Remove(at("a/1/b")))
    assert after == "a:\n- c: 2\n-\n  # two\n  c: 2\n"


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        ("a: {b: 1, c: 2}\n", Remove(at("a/b")), "a: {c: 2}\n"),
        ("a: {b: 1, c: 2}\n", Remove(at("a/c")), "a: {b: 1}\n"),
        ("a: {b: 1}\n", Remove(at("a/b")), "a: {}\n"),
        ("a: [1, 2, 3]\n", Remove(at("a/1")), "a: [1, 3]\n"),
        ("a: [1]\n", Remove(at("a/0")), "a: []\n"),
        ("a: {b: 1}\n", SetMember(at("a/c"), [2]), "a: {b: 1, c: [2]}\n"),
        ("a: {b: 1,}\n", SetMember(at("a/c"), 2), "a: {b: 1, c: 2,}\n"),
        ('{"a": 1}', SetMember(at("b"), {"c": "y"}), '{"a": 1, "b": {"c": "y"}}'),
        ("{a: 1}", SetMember(at("b"), "c"), "{a: 1, b: c}"),
        ("a: [1]\n", Append("", "", at("a"), {"b": 1}), "a: [1, {b: 1}]\n"),
        ("a: []\n", Append("", "", at("a"), 1), "a: [1]\n"),
        ("a:\n- 1 # x\n", Append("", "", at("a"), 2), "a:\n- 1 # x\n- 2\n"),
        ("b: 1\n", Append("", "", at("a"), 2), "b: 1\na:\n- 2\n"),
        ("a:\n  b: 1\nc: 2\n", SetMember(at("a"), 3), "a: 3\nc: 2\n"),
        ("a: |\n  x\n\nc: 2\n", SetMember(at("a"), "z"), "a: z\n\nc: 2\n"),
        ("a: x\n  y\nc: 2\n", SetMember(at("a"), "z"), "a: z\nc: 2\n"),
        ("a: {x: 1}\n", SetMember(at("a"), {"x": 2, "z": 3}), "a: {x: 2, z: 3}\n"),
        ("a:\n  x: 1 # c\n", SetMember(at("a"), {"x": 1, "z": 3}), "a:\n  x: 1 # c\n  z: 3\n"),
        ("v: 1 # c\n", SetMember(at("w"), {"x": 1}, "v"), "w: {x: 1} # c\n"),
        ('"v": 1\n', SetMember(at("w"), 2, "v"), '"w": 2\n'),
        ("- a: 1\n- a: 1\n", SetMember(at("1/a"), 2), "- a: 1\n- a: 2\n"),
        ("? a\n: 1\nb: 2\n", SetMember(at("a"), 2), "? a\n: 2\nb: 2\n"),
    ],
)
def test_styles(before: str, edit: DocumentEdit, after: str) -> None:
    assert mended(before, edit) == after


def test_json_keeps_its_layout() -> None:
    text = '{\n  "a": {"b": 1, "c": [1, 2]},\n  "d": {\n    "e": 1,\n    "f": 2\n  }\n}'
    edits = (Remove(at("a/b")), Remove(at("a/c/1")), Remove(at("d/f")), SetMember(at("d/g"), "y"))
    expected = '{\n  "a": {"c": [1]},\n  "d": {\n    "e": 1,\n    "g": "y"\n  }\n}'
    assert mended(text, *edits) == expected


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_stay(eol: str, ends: bool, mark: str) -> None:
    text = mark + eol.join(["a:", "  b: 1 # é", "  c: 2"]) + (eol if ends else "")
    added = mended(text, SetMember(at("a/d"), {"e": 1}), SetMember(at("a/b"), 3))
    lines = ["a:", "  b: 3 # é", "  c: 2", "  d:", "    e: 1"]
    assert added == mark + eol.join(lines) + (eol if ends else "")
    removed = mended(text, Remove(at("a/c")))
    assert removed == mark + eol.join([*lines[:1], "  b: 1 # é"]) + (eol if ends else "")


def test_other_documents_stay() -> None:
    text = "--- # one\na: 1\n...\n%YAML 1.1\n---\n# two\na: 1\n---\na: 1\n"
    result = FixableText(text).mended([fix(SetMember(at("a"), 2), number=1)])
    assert result.text == "--- # one\na: 1\n...\n%YAML 1.1\n---\n# two\na: 2\n---\na: 1\n"


def test_a_new_document_comes_last_and_once() -> None:
    created = {"kind": "Quota", "spec": {"hard": {"cpu": "64"}}}
    fixes = [DocumentFix(0, (), (created,)), DocumentFix(0, (), (created,))]
    result = FixableText("kind: A  # a\n# b").mended(fixes)
    tail = "---\nkind: Quota\nspec:\n  hard:\n    cpu: '64'\n"
    assert result.text == f"kind: A  # a\n# b\n{tail}"
    assert (
        list(FixableText('{"a": 1}').mended(fixes).left.values())
        == ["JSON has no place for a second document"] * 2
    )


@pytest.mark.parametrize(
    ("text", "edit", "why"),
    [
        ("a: 1\n", Remove(at("b/c")), "it is not written in this file"),
        ("a: 1\n", SetMember(at("a/b"), 1), "/a has another type"),
        ("a: 1\n", Remove(at("a")), "nothing would be left of the document"),
        ("a: [\n  1, # x\n  2]\n", Remove(at("a/0")), "a comment may stand between the braces"),
        ("a: &x\n  b: 1\n", Remove(at("a/b")), "it has an anchor or a tag"),
    ],
)
def test_what_cannot_be_edited_is_left(text: str, edit: DocumentEdit, why: str) -> None:
    assert reason(text, edit) == why


@pytest.mark.parametrize(
    "text", ["a: 1\rb: 2\r", "a: x\u2028b\n", "a: [\n", "a: *b\n", "a: 1\na: 2"]
)
def test_a_text_that_cannot_be_edited(text: str) -> None:
    with pytest.raises(CannotMendError):
        FixableText(text)


def test_one_fix_that_fails_does_not_keep_others_back() -> None:
    fixes = [fix(SetMember(at(f"n{index}"), index)) for index in range(9)]
    fixes.insert(4, fix(SetMember(at("a/b"), 1)))
    result = FixableText("a: 1\n").mended(fixes)
    assert result.left == {4: "/a has another type"}
    assert yaml.safe_load(result.text) == {"a": 1, **{f"n{index}": index for index in range(9)}}


def test_numbers_of_any_length_stay() -> None:
    text = f"a: {'9' * 300}\nb: 1\n"
    assert mended(text, SetMember(at("b"), 2)) == text.replace("b: 1", "b: 2")


def test_a_file_of_failing_fixes_ends() -> None:
    text = "a: 1\n" + "# x\n" * 2_000_000
    fixes = [fix(SetMember(at(f"a/{index}"), 1)) for index in range(1000)]
    result = FixableText(text).mended(fixes)
    assert len(result.left) == 1000 and result.text == text
    assert "too many other remedies of this file cannot be made" in result.left.values()
