"""`raywarden review --fix`: what it changes, and what it says about the rest."""

import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from policies.remedies.grammar import Choice
from webhook.commands.fix_option import FixMode
from webhook.fixes.kustomize import is_kustomize_patch
from webhook.fixes.mend import MendedFile, Mender, Mending, Review, with_contents
from webhook.fixes.proposals import NEEDS_AUTHOR, NEEDS_CHOICE
from webhook.fixes.replace_file import CannotReplaceError, replace_file
from webhook.manifests.read import STDIN
from webhook.reports.groups import counted, line
from webhook.review.run import ReviewRun

_CHOICES = {FixMode.SAFE: Choice.NONE, FixMode.ALL: Choice.VALUE}
_KUSTOMIZE = "kustomize applies it as a patch"
_NO_NEWLINE = "\\ No newline at end of file"


def mend(run: ReviewRun, review: Review, mode: FixMode, sources: Sequence[str]) -> Mending:
    """Carry out the remedies of a review of `sources`. Writes no file."""
    kept = {name: _KUSTOMIZE for name in run.results.texts if is_kustomize_patch(Path(name))}
    if "-" in sources:
        kept |= _rendered(run)
    return Mender(review, _CHOICES[mode], kept).mend(run)


def _rendered(run: ReviewRun) -> dict[str, str]:
    """Standard input with the reason to keep it, if Helm rendered it."""
    for manifest in run.manifests:
        if manifest.source == STDIN and manifest.written is not None:
            template = manifest.written.text.template(manifest.written.document)
            if template:
                return {STDIN: f"Helm rendered it: change {template} or its values"}
    return {}


def write_files(mending: Mending, sources: Sequence[str]) -> dict[str, str]:
    """Replace the files that change; the names of those that could not be, with the reasons."""
    failed = {}
    for file in mending.files:
        if file.name == STDIN and "-" in sources:
            continue
        try:
            replace_file(Path(file.name), file.before, file.after)
        except CannotReplaceError as error:
            failed[file.name] = str(error)
    return failed


def written(mending: Mending, failed: Mapping[str, str], review: Review) -> ReviewRun:
    """The review of the files as they are now; those in `failed` did not change."""
    if not failed:
        return mending.run
    contents = {file.name: file.before for file in mending.files if file.name in failed}
    return review(with_contents(mending.run.manifests, contents))


def print_stream(run: ReviewRun, mending: Mending) -> None:
    """Print standard input with its changes."""
    mended = {file.name: file.after for file in mending.files}
    original = run.results.texts.get(STDIN)
    if original is not None:
        sys.stdout.buffer.write(mended.get(STDIN, original.content))
        sys.stdout.buffer.flush()


def print_diff(mending: Mending) -> None:
    """Print the changes as `patch -p0` reads them."""
    for file in mending.files:
        for changed in _diff(file):
            print(changed)


def _diff(file: MendedFile) -> Iterator[str]:
    before, after = (
        content.decode().splitlines(keepends=True) for content in (file.before, file.after)
    )
    # A line break or an escape in a name would forge lines of the patch.
    name = file.name if file.name.isprintable() else json.dumps(file.name)
    for changed in difflib.unified_diff(before, after, name, name):
        yield changed.removesuffix("\n")
        if not changed.endswith("\n"):
            yield _NO_NEWLINE


def summary(mending: Mending, failed: Mapping[str, str], *, dry_run: bool) -> Iterator[str]:
    """What was fixed, what was not and why, in lines."""
    verb = "would fix" if dry_run else "fixed"
    fixed = [file for file in mending.files if file.name not in failed]
    for file in fixed:
        rules = Counter(finding.rule for finding in file.findings)
        fixes = ", ".join(_times(*item) for item in rules.items())
        yield f"{verb} {line(file.name)}: {fixes or 'parts of findings'}"
    for name, reason in failed.items():
        yield f"could not write {line(name)}: {reason}"
    reasons = Counter(reason for _, reason in mending.left)
    for finding, reason in mending.left:
        if reason not in (NEEDS_AUTHOR, NEEDS_CHOICE):
            yield line(f"not fixed {finding.place}: {finding.rule}: {reason}")
    count = sum(len(file.findings) for file in fixed)
    total = f"{counted(count, 'finding')} {'can be ' if dry_run else ''}fixed"
    if reasons[NEEDS_CHOICE]:
        total += f", {reasons[NEEDS_CHOICE]} more with --fix=all"
    if reasons[NEEDS_AUTHOR]:
        total += f", {reasons[NEEDS_AUTHOR]} only by the author"
    yield total


def _times(rule: str, count: int) -> str:
    return rule if count == 1 else f"{rule} ({count})"
