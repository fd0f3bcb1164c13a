"""Carries out the remedies of a review, and reviews the result until nothing changes any more."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from policies.remedies.grammar import Choice
from webhook.fixes.plan import CannotMendError
from webhook.fixes.proposals import Key, Proposal, Step, proposals
from webhook.fixes.text import FixableText
from webhook.manifests.read import Manifest, objects
from webhook.review.finding import ReviewFinding
from webhook.review.run import ReviewRun

# A remedy can lead to another finding, such as one of the object it creates.
_MAX_PASSES = 5
_TEMPLATE = re.compile(r"^[^#\n]*\{\{", re.MULTILINE)

Review = Callable[[Sequence[Manifest]], ReviewRun]


@dataclass(frozen=True, slots=True)
class MendedFile:
    """A file that changes, and the findings that its change removes."""

    name: str
    before: bytes
    after: bytes
    findings: tuple[ReviewFinding, ...]


@dataclass(frozen=True, slots=True)
class Mending:
    """The files that change, the review of the result, and why each other finding is left."""

    files: tuple[MendedFile, ...]
    run: ReviewRun
    left: tuple[tuple[ReviewFinding, str], ...]


@dataclass(slots=True)
class Mender:
    """Mends the texts of one review.

    `review` reviews other versions of the manifests. `most` is the greatest choice that may be
    made. `kept` are the names of texts to leave, with the reasons.
    """

    review: Review
    most: Choice
    kept: Mapping[str, str] = field(default_factory=dict)
    _texts: dict[str, bytes] = field(default_factory=dict)
    _tried: dict[Step, str] = field(default_factory=dict)
    # The text in which a remedy could not be made; another remedy may change that.
    _failed_in: dict[Step, bytes] = field(default_factory=dict)
    _made: dict[Key, Proposal] = field(default_factory=dict)

    def mend(self, run: ReviewRun) -> Mending:
        """Make all changes that can be made. Writes no file."""
        before = {name: text.content for name, text in run.results.texts.items()}
        self._texts = dict(before)
        for _ in range(_MAX_PASSES):
            changed = self._pass(run)
            if not changed:
                break
            contents = {name: self._texts[name] for name in changed}
            run = self.review(with_contents(run.manifests, contents))
        return self._mending(run, before)

    def _pass(self, run: ReviewRun) -> set[str]:
        """Change the texts once; the names of those that changed."""
        by_file: dict[str, list[Proposal]] = defaultdict(list)
        for proposal in proposals(run, self.most):
            if self._may_try(proposal):
                by_file[proposal.file].append(proposal)
        return {name for name, found in by_file.items() if self._change(name, found)}

    def _may_try(self, proposal: Proposal) -> bool:
        if proposal.fix is None:
            return False
        if proposal.step in self._failed_in:
            return self._failed_in[proposal.step] is not self._texts[proposal.file]
        return proposal.step not in self._tried

    def _change(self, name: str, found: Sequence[Proposal]) -> bool:
        text = self._texts[name]
        try:
            reason = self.kept.get(name) or _reason_to_keep(text)
            if reason:
                raise CannotMendError(reason)
            mended = FixableText(text.decode()).mended(
                [proposal.fix for proposal in found if proposal.fix is not None]
            )
        except CannotMendError as error:
            self._tried.update((proposal.step, str(error)) for proposal in found)
            self._failed_in.update((proposal.step, text) for proposal in found)
            return False
        for index, proposal in enumerate(found):
            # A finding that comes back after its remedy is not tried again.
            self._tried[proposal.step] = mended.left.get(index, "the remedy does not remove it")
            if index in mended.left:
                self._failed_in[proposal.step] = text
            else:
                self._failed_in.pop(proposal.step, None)
                self._made[proposal.key] = proposal
        after = mended.text.encode()
        if after != text:
            self._texts[name] = after
        return after != text

    def _mending(self, run: ReviewRun, before: dict[str, bytes]) -> Mending:
        remaining = list(proposals(run, self.most))
        keys = {proposal.key for proposal in remaining}
        left = tuple(
            (proposal.finding, self._tried.get(proposal.step) or proposal.why_not)
            for proposal in remaining
        )
        made = [proposal for key, proposal in self._made.items() if key not in keys]
        files = (
            MendedFile(name, before[name], after, _findings_in(name, made))
            for name, after in self._texts.items()
            if after != before[name]
        )
        return Mending(tuple(files), run, left)


def with_contents(manifests: Sequence[Manifest], contents: Mapping[str, bytes]) -> list[Manifest]:
    """The manifests in their order; those of files in `contents` are read from there."""
    result: list[Manifest] = []
    read_again: set[str] = set()
    for manifest in manifests:
        name = manifest.source
        if name not in contents:
            result.append(manifest)
        elif name not in read_again:
            read_again.add(name)
            found = objects(name, contents[name])
            result += (item for item in found if isinstance(item, Manifest))
    return result


def _findings_in(name: str, made: Iterable[Proposal]) -> tuple[ReviewFinding, ...]:
    return tuple(proposal.finding for proposal in made if proposal.file == name)


def _reason_to_keep(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if _TEMPLATE.search(text):
        return "it has {{ }}, as templates do: change the template or its values"
    return ""
