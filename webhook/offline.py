"""Builds what works without a cluster and without keys, for the command line."""

from datetime import UTC, date, datetime

from policies.config import Policy
from webhook.admission.reviewer import Reviewer, signer_of
from webhook.ports import NamespaceStates
from webhook.settings import Settings

# Stands for the signer's CA in offline reviews, whose objects never become pods.
_NO_CA = b"-----BEGIN CERTIFICATE-----\n(the signer's CA)\n-----END CERTIFICATE-----\n"


def offline_reviewer(
    settings: Settings,
    policy: Policy,
    namespace_states: NamespaceStates,
    today: date | None = None,
) -> Reviewer:
    """A reviewer that needs no cluster and no keys; `today` replaces the day of the clock."""
    signer = signer_of(settings, _NO_CA)
    return Reviewer(lambda: policy, lambda: signer, namespace_states, lambda: today or now().date())


def policy_notes(policy: Policy) -> list[str]:
    """A line for each exemption that has expired today: it has no effect, so remove or renew it."""
    notes = []
    for number, exemption in policy.expired(now().date()):
        reason = " ".join(exemption.reason.split())
        notes.append(f"exemption {number} ({reason}) expired on {exemption.until}")
    return notes


def now() -> datetime:
    """The time by this machine's clock, in UTC."""
    return datetime.now(UTC)
