"""What an enrollment asks a real API server: nothing, while memory knows the pod."""

import json
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.pods import csr, give_address, make_cluster, make_pods, place_of, token_for
from tests.apiserver.replica import Replica
from tests.support.factory import Object, changed
from tests.support.pod_tokens import TokenSigner

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

Pair = tuple[Replica, Replica]


def lookups(replica: Replica) -> dict[str, float]:
    """How often enrollments have asked the API server, by object."""
    name = 'raywarden_enrollment_lookups_total{{object="{}",source="api"}}'
    return {asked: replica.metric(name.format(asked)) for asked in ("token", "pod", "cluster")}


def requests_of(installation: Installation) -> Iterator[tuple[str, str]]:
    """The verb and resource of each request of the servers that an enrollment might send."""
    user = f"system:serviceaccount:{installation.namespace}:raywarden"
    log = installation.control_plane.folder / AUDIT_LOG
    for line in log.read_text().splitlines():
        event = json.loads(line)
        resource = event.get("objectRef", {}).get("resource")
        asked = (event["verb"], resource)
        if event["user"]["username"] == user and asked in (
            ("create", "tokenreviews"),
            ("get", "pods"),
            ("get", "rayclusters"),
        ):
            yield asked


def starting_head(control_plane: ControlPlane, namespace: str, address: str) -> Object:
    """A head whose address is known, in a new cluster."""
    name = f"c-{uuid4().hex[:6]}"
    head, _ = make_pods(control_plane, make_cluster(control_plane, namespace, name))
    give_address(control_plane, head, address)
    return head


def test_a_known_pod_enrolls_without_a_request(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    replica, namespace = pair[0], installation.team()
    replica.wait_logged("token keys read", keys=1)
    heads = [starting_head(control_plane, namespace, f"10.1.0.{n}") for n in range(1, 6)]
    tokens = [token_for(control_plane, head) for head in heads]
    # Events take some milliseconds.
    time.sleep(1)
    before, asked = lookups(replica), list(requests_of(installation))
    issued = replica.issued()
    for token in tokens:
        response = replica.enroll(installation.trust(), token, csr())
        assert response.status_code == 200, response.text
    assert replica.issued() == issued + len(tokens)
    assert lookups(replica) == before
    assert list(requests_of(installation)) == asked, "the audit log has no request"


def test_deleting_the_pod_revokes_its_token(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    head = starting_head(control_plane, installation.team(), "10.1.0.9")
    token, trust = token_for(control_plane, head), installation.trust()
    for replica in pair:
        assert replica.enroll(trust, token, csr()).status_code == 200
    control_plane.delete(place_of(head))
    started = time.monotonic()
    until(lambda: all(replica.enroll(trust, token, csr()).status_code == 403 for replica in pair))
    assert time.monotonic() - started < 3, "a watch lags by milliseconds"


def test_an_unknown_key_and_an_unknown_cluster_are_questions_for_the_api_server(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    replica, trust = pair[0], installation.trust()
    namespace = installation.team(unseen="")
    cluster = make_cluster(control_plane, namespace)
    head, _ = make_pods(control_plane, changed(cluster, {"/metadata/uid": str(uuid4())}))
    give_address(control_plane, head, "10.1.0.10")
    before = lookups(replica)
    response = replica.enroll(trust, token_for(control_plane, head), csr())
    assert response.status_code == 403 and "no longer exists" in response.text
    assert lookups(replica)["cluster"] == before["cluster"] + 1
    assert lookups(replica)["token"] == before["token"]
    forged = TokenSigner("ES256").token(head, time.time())
    assert replica.enroll(trust, forged, csr()).status_code == 401
    assert lookups(replica)["token"] == before["token"] + 1
