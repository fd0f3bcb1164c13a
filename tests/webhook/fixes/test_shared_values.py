"""Values that anchors, aliases and merge keys share between places of a text."""

from policies.remedies.edits import Remove, SetMember
from tests.webhook.fixes.test_text import at, fix, mended, reason
from webhook.fixes.text import FixableText

SHARED = "a: &x\n  b: 1\nc: *x\nd:\n  <<: *x\n  e: 1\n"


def test_a_shared_value_is_left() -> None:
    assert reason(SHARED, SetMember(at("a/b"), 2)).endswith("the anchor &x")
    assert reason(SHARED, SetMember(at("c/b"), 2)).endswith("the anchor &x")


def test_a_shared_value_is_changed_if_all_places_need_it() -> None:
    fixes = [fix(SetMember(at(f"{name}/b"), 2)) for name in "ac"]
    text = "a: &x\n  b: 1\nc: *x\n"
    result = FixableText(text).mended(fixes)
    assert result.left == {} and result.text == "a: &x\n  b: 2\nc: *x\n"
    # Beside a fix that fails, both are still made together.
    result = FixableText(text).mended([*fixes[:1], fix(Remove(at("q"))), *fixes[1:]])
    assert [*result.left] == [1] and result.text == "a: &x\n  b: 2\nc: *x\n"


def test_an_alias_is_replaced_in_its_own_place() -> None:
    text = "a: &x 1\nb: *x\n"
    assert mended(text, SetMember(at("b"), 2)) == "a: &x 1\nb: 2\n"
    assert reason(text, SetMember(at("a"), 2)).endswith("the anchor &x")


def test_a_merged_member_is_set_beside_the_merge_key() -> None:
    assert mended(SHARED, SetMember(at("d/b"), 2)) == f"{SHARED}  b: 2\n"
    assert "merge key" in reason(SHARED, Remove(at("d/b")))
