"""Puts together what writes NetworkPolicies."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation
from webhook.environment import api_server_service
from webhook.isolation.controller import IsolationController
from webhook.isolation.lease import Election
from webhook.isolation.reports import Reports
from webhook.isolation.wanted import WantedPolicies
from webhook.ports import IsolationState, Leases, PolicyWriter
from webhook.settings import Settings


@dataclass(frozen=True)
class IsolationAdapters:
    """The adapters for writing NetworkPolicies."""

    state: IsolationState
    writer: PolicyWriter
    leases: Leases


def controller_for(
    adapters: IsolationAdapters,
    isolation_of: Callable[[str], ClusterIsolation],
    settings: Settings,
    identity: str,
    clock: Callable[[], float],
    now: Callable[[], datetime],
) -> IsolationController:
    """A controller that is not started; see `WantedPolicies` and `Election` for the arguments."""
    return IsolationController(
        adapters.state,
        WantedPolicies(adapters.state, isolation_of, infrastructure_of(settings)),
        adapters.writer,
        Election(adapters.leases, identity, clock, now),
        Reports(adapters.writer, identity, clock, now),
    )


def infrastructure_of(settings: Settings) -> Infrastructure:
    """What clusters work with, as far as it does not change while the server runs."""
    service = api_server_service()
    return Infrastructure(
        # The port of the pods: network policies see traffic after the Service has been resolved.
        signer=(settings.namespace, settings.enrollment_port),
        api_server=(service,) if service else (),
    )
