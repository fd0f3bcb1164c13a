"""Which of the Services that a route leads to are Ray's, and which part of Ray they are."""

import re
from collections.abc import Collection

from policies.cluster.add_ons import add_on_behind
from policies.cluster.exposure import SERVE_PORTS
from policies.cluster.routes import Backend
from policies.cluster.serve import is_serve_alone
from policies.cluster.state import (
    PORT_NAMES,
    LiveCluster,
    LiveService,
    NamespaceState,
    RayClusterLookup,
)
from policies.ray.membership import RAY_CLUSTER_LABEL
from policies.ray.workload import LABEL_PREFIXES

# The names that KubeRay gives its Services (`GenerateHeadServiceName`, `GenerateServeServiceName`).
_HEAD = re.compile(r"([a-z0-9.-]+)-head-svc")
_SERVE = re.compile(r"[a-z0-9.-]+-serve-svc")
# The ports by which people usually mean Ray, besides those that RayClusterLookup knows.
_USUAL_PORTS = frozenset({80, 443, *SERVE_PORTS, *PORT_NAMES, "serve"})
# GCS and Ray Client. With mTLS they ask every client for a certificate. The dashboard and its
# agents never speak TLS.
_TLS_PORTS = (6379, 10001)


class RayBackends:
    """Answers for the routes of a namespace, from what is known of its Services and clusters.

    `allowed_ports` are names of ports of Ray's Services that authenticate.
    """

    def __init__(
        self, state: NamespaceState, namespace: str, allowed_ports: Collection[str]
    ) -> None:
        self._services = state.services or {}
        self._clusters = state.ray_clusters or {}
        self._namespace = namespace
        self._allowed_ports = allowed_ports
        self._lookup = RayClusterLookup(state)

    def is_ray(self, backend: Backend) -> bool:
        """The backend is Ray, by its Service if that is known, else by KubeRay's names."""
        service = self._known_service(backend)
        if service is not None and self._leads_to_rays_port(backend, service):
            return True
        if self._is_allowed(backend, service):
            return False
        if isinstance(backend.port, int) and backend.port in self._lookup.ports:
            return True
        if service is None:
            return bool(_HEAD.fullmatch(backend.service) or _SERVE.fullmatch(backend.service))
        if service.external_name:
            return self._is_ray_by_name(service)
        return self._selects_ray(service)

    def is_rays_service(self, service: LiveService) -> bool:
        """The Service selects Ray's pods, or leads to one of Ray's ports."""
        ports = self._lookup.ports.intersection(service.ports.values())
        return bool(ports) or self._selects_ray(service)

    def leads_only_to_serve(self, service: LiveService) -> bool:
        """The Service selects Ray's pods, and leads to no port but those of Serve."""
        return self._selects_ray(service) and is_serve_alone(
            service.ports.values(), self._lookup.ports
        )

    def is_serve(self, backend: Backend) -> bool:
        """The backend is Ray Serve, and no other part of Ray."""
        service, ports = self._known_service(backend), self._lookup.ports
        if service is None:
            return self._is_serve_by_name(backend) and backend.port not in ports
        target = _target_port(backend, service)
        # Without a port, the controller takes the first one, or all of them.
        return is_serve_alone(service.ports.values() if target is None else (target,), ports)

    def _is_serve_by_name(self, backend: Backend) -> bool:
        """The port of a Serve Service, or Serve's number on a head Service that KubeRay creates.

        The name of a port proves nothing. Which ports Ray uses in other namespaces is unknown.
        """
        if _SERVE.fullmatch(backend.service):
            return True
        is_near = backend.namespace in ("", self._namespace)
        return is_near and backend.port in SERVE_PORTS and bool(_HEAD.fullmatch(backend.service))

    def cluster_behind(self, backend: Backend) -> LiveCluster | None:
        """The live RayCluster that a backend leads to, as far as it is known."""
        service = self._known_service(backend)
        if service is not None:
            return self.cluster_of(service)
        name = _HEAD.fullmatch(backend.service)
        return self._clusters.get(name[1]) if name and not backend.namespace else None

    def cluster_of(self, service: LiveService) -> LiveCluster | None:
        """The live RayCluster whose pods a Service selects, as far as it is known."""
        if not service.selector:
            return None
        return self._clusters.get(self._lookup.cluster_with(service.selector))

    def ports_behind(self, backend: Backend) -> Collection[int | str]:
        """The ports of the pods that a backend leads to; empty if they are unknown."""
        service = self._known_service(backend)
        target = _target_port(backend, service)
        if target is not None:
            return (target,)
        return tuple(service.ports.values()) if service else ()

    def may_be_a_sidecar(self, backend: Backend) -> bool:
        """The route names a port that is none of Ray's, so a proxy beside Ray may listen there."""
        if backend.port is None or backend.port in self._lookup.ports:
            return False
        return backend.port not in _USUAL_PORTS

    def asks_for_certificate(self, backend: Backend) -> bool:
        """The backend is a port where Ray asks every client for a certificate."""
        service = self._known_service(backend)
        if service is None:
            name = _HEAD.fullmatch(backend.service)
            cluster = name[1] if name and not backend.namespace else ""
        else:
            cluster = str(service.selector.get(RAY_CLUSTER_LABEL, ""))
        live = self._clusters.get(cluster)
        has_mtls = live is not None and (live.raywarden_tls or live.kuberay_tls)
        return has_mtls and self.can_speak_tls(backend)

    def can_speak_tls(self, backend: Backend) -> bool:
        """The backend is a port where Ray speaks TLS if its cluster has mTLS."""
        return _target_port(backend, self._known_service(backend)) in _TLS_PORTS

    def _known_service(self, backend: Backend) -> LiveService | None:
        if backend.namespace not in ("", self._namespace):
            return None
        return self._services.get(backend.service)

    def _leads_to_rays_port(self, backend: Backend, service: LiveService) -> bool:
        if backend.port is None:
            # The controller takes the first port, or all of them.
            return not self._lookup.ports.isdisjoint(service.ports.values())
        return _target_port(backend, service) in self._lookup.ports

    def _is_allowed(self, backend: Backend, service: LiveService | None) -> bool:
        """The route leads to an allowed port, by its name or by its number."""
        if backend.port in self._allowed_ports:
            return True
        targets = [service.ports.get(name) for name in self._allowed_ports] if service else []
        return backend.port is not None and _target_port(backend, service) in filter(None, targets)

    def _selects_ray(self, service: LiveService) -> bool:
        if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
            return True
        if add_on_behind(service):
            return True
        return bool(service.selector and self._lookup.cluster_with(service.selector))

    def _is_ray_by_name(self, alias: LiveService) -> bool:
        """The external name of the Service is the name of one of Ray's Services."""
        name, _, rest = alias.external_name.partition(".")
        if _HEAD.fullmatch(name):
            return True
        if rest.partition(".")[0] != self._namespace:
            return False
        service = self._services.get(name)
        return service is not None and self._selects_ray(service)


def _target_port(backend: Backend, service: LiveService | None) -> int | str | None:
    """The port of the pods behind a port of the Service."""
    if service is None or backend.port is None:
        return backend.port
    return service.ports.get(backend.port, backend.port)
