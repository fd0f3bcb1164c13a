"""`--write` records outcomes: comments and style stay, and a file is replaced as a whole or not."""

from pathlib import Path

import pytest
import yaml

from tests.support import factory
from tests.webhook.policy_tests.cases import PUBLIC, run, session, write
from webhook.policy_tests.files import NAME
from webhook.policy_tests.record import replace_file
from webhook.policy_tests.report import text
from webhook.policy_tests.results import CaseStatus, PolicyTestRun
from webhook.settings import SetupError

BEFORE = """\
# What our policy does.
kind: PolicyTest
policy: {profiles: {warn: baseline}}   # only denials
kuberay: "1.7"
cases:
    # dashboards
    - name: 'a public dashboard'   # since March
      objects: [public.yaml]
      expect:
          # a comment inside
          verdict: allowed   # not any more
          denies: [no-root, no-public-head-service]
          contains:
              mutates: [ray-tls, enroll-egress]

    - name: "new"
      objects:
          - public.yaml
    - name: stays
      objects: [public.yaml]
      expect: {verdict: denied,   denies: [no-public-head-service]}
"""
# A comment keeps its column.
AFTER = BEFORE.replace("verdict: allowed   # not", "verdict: denied    # not")
AFTER = AFTER.replace("[no-root, no-public-head-service]", "[no-public-head-service]")
AFTER = AFTER.replace("[ray-tls, enroll-egress]", "[ray-tls]")
AFTER = AFTER.replace("denied,   denies", "denied, denies")
NEW = """\
      expect:
          verdict: denied
          denies: [no-public-head-service]
          warns: []
          mutates: [managed-isolation, node-ip-address, pod-security, ray-tls, token-automount]
"""


def record(folder: Path) -> PolicyTestRun:
    return session(folder).write([folder])


def test_what_differs_is_recorded_and_everything_else_stays(tmp_path: Path) -> None:
    (tmp_path / "public.yaml").write_text(yaml.safe_dump(PUBLIC))
    file = tmp_path / NAME
    file.write_text(BEFORE)
    file.chmod(0o640)
    result = record(tmp_path)
    assert list(text(result))[-2:] == [f"note: wrote {file}", "3 passed, 0 failed, 0 unreadable"]
    head, new, tail = file.read_text().partition(NEW)
    assert new
    assert head + tail == AFTER
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["public.yaml", NAME]
    # Nothing differs any more, so nothing is written.
    before = file.stat().st_mtime_ns
    assert record(tmp_path).notes == []
    assert file.stat().st_mtime_ns == before


def test_only_selected_cases_are_recorded(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"name": "one", "objects": [PUBLIC], "expect": {"verdict": "allowed"}},
        {"name": "two", "objects": [PUBLIC], "expect": {"verdict": "allowed"}},
    )
    selected = session(tmp_path)
    object.__setattr__(selected, "selected", lambda name: name == "two")
    selected.write([tmp_path])
    verdicts = [case["expect"]["verdict"] for case in yaml.safe_load(file.read_text())["cases"]]
    assert verdicts == ["allowed", "denied"]


def test_stored_objects_are_written_to_their_file(tmp_path: Path) -> None:
    case = {"name": "a", "objects": [PUBLIC], "expect": {"stored": "stored.yaml"}}
    assert run(tmp_path, case).count(CaseStatus.UNREADABLE) == 1
    assert record(tmp_path).count(CaseStatus.PASSED) == 1
    golden = tmp_path / "stored.yaml"
    (stored,) = yaml.safe_load_all(golden.read_text())
    assert stored["metadata"]["labels"]["raywarden.io/tls"] == "managed"
    golden.write_text(golden.read_text().replace("raywarden.io/tls: managed", "other: label", 1))
    (result,) = session(tmp_path).run([tmp_path]).cases
    changed = [line.strip("+- ") for line in result.diff if line[0] in "+-"][2:]
    assert changed == ["other: label", "raywarden.io/tls: managed"]


def test_stored_objects_in_the_file_are_recorded(tmp_path: Path) -> None:
    write(tmp_path, {"name": "a", "objects": [PUBLIC], "expect": {"stored": [PUBLIC]}})
    assert record(tmp_path).count(CaseStatus.PASSED) == 1


def test_what_cannot_be_recorded_stays_a_difference(tmp_path: Path) -> None:
    expect = {"messages": ["x"], "storedContains": {"a": "b"}}
    file = write(tmp_path, {"name": "a", "objects": [PUBLIC], "expect": expect})
    before = file.read_text()
    assert record(tmp_path).count(CaseStatus.FAILED) == 1
    assert file.read_text() == before


SHARED = """\
kind: PolicyTest
cases:
- name: a
  objects: [public.yaml]
  expect: &all {verdict: allowed}
- name: b
  objects: [plain.yaml]
  expect: *all
"""


def test_a_shared_expectation_is_not_changed_for_the_other_case(tmp_path: Path) -> None:
    (tmp_path / "public.yaml").write_text(yaml.safe_dump(PUBLIC))
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(factory.ray_cluster()))
    file = tmp_path / NAME
    file.write_text(SHARED)
    result = record(tmp_path)
    assert [broken.why for broken in result.unreadable] == [
        f"{file}: cannot be recorded without other changes: write expect without anchors"
    ]
    assert file.read_text() == SHARED


def test_line_ends_and_the_start_of_the_document_stay(tmp_path: Path) -> None:
    (tmp_path / "public.yaml").write_text(yaml.safe_dump(PUBLIC))
    file = tmp_path / NAME
    content = f"---\n{BEFORE}".replace("\n", "\r\n").encode()
    file.write_bytes(content)
    record(tmp_path)
    lines = file.read_bytes().split(b"\r\n")
    assert lines[0] == b"---"
    assert not any(b"\n" in line for line in lines)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    link = tmp_path / "link"
    link.symlink_to(file)
    replace_file(link, b"after")
    assert link.is_symlink() and file.read_text() == "after"

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("webhook.policy_tests.record.os.replace", full)
        with pytest.raises(SetupError, match="No space left on device"):
            replace_file(file, b"lost")
    file.chmod(0o444)
    with pytest.raises(SetupError, match="is read-only"):
        replace_file(file, b"lost")
    with pytest.raises(SetupError, match="No such file or directory"):
        replace_file(tmp_path / "missing" / "a", b"lost")
    assert file.read_text() == "after"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link"]
