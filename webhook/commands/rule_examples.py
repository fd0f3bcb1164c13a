"""The examples shipped with the rules: for each a manifest that is refused, and the same fixed."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice

from policies.config import Policy
from policies.documents.untrusted_yaml import load_all
from policies.documents.untyped import as_dict
from webhook import wiring
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.read import Manifest, objects
from webhook.manifests.state import ManifestNamespaces
from webhook.settings import Settings, SetupError

_POLICY = "# policy: "


@dataclass(frozen=True, slots=True)
class Example:
    """What an author might write, and what he should have: YAML, with all that must be known of the cluster."""

    refused: str
    fixed: str

    @classmethod
    def of(cls, rule: str) -> "Example":
        """The example of the rule with this id (`policies/examples/<id>/`)."""
        folder = files("policies") / "examples" / rule
        try:
            refused, fixed = (
                (folder / f"{name}.yaml").read_text("utf-8") for name in ("refused", "fixed")
            )
        except FileNotFoundError as error:
            raise SetupError(f"{rule} has no example yet: write {error.filename}") from None
        return cls(refused, fixed)

    @property
    def policy(self) -> str:
        """What the policy file must say for it, as YAML in the first line of the manifest; mostly nothing."""
        first = self.refused.partition("\n")[0]
        return first.removeprefix(_POLICY) if first.startswith(_POLICY) else ""

    def difference(self) -> Iterator[str]:
        """What is to be changed, as a unified diff without the names of the files."""
        lines = difflib.unified_diff(
            self.refused.splitlines(), self.fixed.splitlines(), lineterm=""
        )
        return islice(lines, 2, None)

    def examined(
        self, manifest: str, settings: Settings, *, complete: bool = True
    ) -> list[ReviewedManifest]:
        """What the review says to one of the two, everything enforced.

        Where it is `complete`, what it does not have is not in the cluster; else it is not known.
        """
        found = [one for one in objects("example", manifest.encode()) if isinstance(one, Manifest)]
        around = ManifestNamespaces((one.document for one in found), complete=complete)
        written = as_dict(next(load_all(self.policy), None))
        policy = Policy.parse({"profiles": {"enforce": "restricted"}, **written})
        reviewer = wiring.offline_reviewer(settings, policy, around)
        examined = (review_manifest(reviewer, one, "default") for one in found)
        return [one for one in examined if one]
