"""What is known of EndpointSlices and Endpoints."""

from policies.cluster.endpoints import LiveEndpoints


def slice_with(*ports: object) -> LiveEndpoints:
    labels = {"kubernetes.io/service-name": "web"}
    entries = [{"port": port} for port in ports]
    return LiveEndpoints.of({"metadata": {"name": "web-1", "labels": labels}, "ports": entries})


def test_a_slice_belongs_to_the_service_of_its_label() -> None:
    assert (slice_with(80).name, slice_with(80).service) == ("web-1", "web")
    endpoints = LiveEndpoints.of({"kind": "Endpoints", "metadata": {"name": "db"}})
    assert endpoints.service == "db"


def test_ports_are_numbers() -> None:
    assert slice_with(8265, None, "x", 80).leads_to([8265, 9999, "x"]) == [8265]
    subsets = {"subsets": [{"ports": [{"port": 80}]}, {"ports": [{"port": 6379}]}, 7]}
    assert LiveEndpoints.of(subsets).leads_to([6379, 80]) == [80, 6379]


def test_a_slice_with_too_many_ports_to_read_leads_to_any_port() -> None:
    many = slice_with(*range(1, 1000))
    assert len(many.ports) <= 257 and many.leads_to([9999]) == [9999]
    assert slice_with(*range(1, 257)).leads_to([9999]) == []


def test_strange_json_is_no_port() -> None:
    for document in ({}, {"metadata": 1, "ports": {}}, {"ports": [[]], "subsets": [{"ports": 1}]}):
        assert LiveEndpoints.of(document).leads_to([80]) == []
