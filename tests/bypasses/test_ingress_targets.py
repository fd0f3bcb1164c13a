"""Rows 54 and 55: annotations that lead to Ray in ways that are hard to read."""

import json

import pytest

from tests.bypasses.admission import passes, refused
from tests.support import related_objects
from tests.support.factory import Object, changed

OPEN = {"no-open-ingress"}
NGINX = "nginx.ingress.kubernetes.io"
ALB = "alb.ingress.kubernetes.io"
ALIAS = related_objects.service(
    selector={"ray.io/cluster": "demo"}, ports=[{"port": 80, "targetPort": 8265}]
)


def with_annotation(name: str, value: str) -> Object:
    """An Ingress to an application, with one annotation."""
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    return changed(
        related_objects.ingress(),
        {
            "/spec/rules/0/http/paths/0/backend": backend,
            "/metadata/annotations": {name: value},
        },
    )


def mirror(target: str) -> Object:
    return with_annotation(f"{NGINX}/mirror-target", target)


@pytest.mark.parametrize(
    "target",
    [
        "http://DEMO-HEAD-SVC.team-a.svc:8265$request_uri",
        "HTTP://demo-head-svc.team-a.svc:8265",
        " http://demo-head-svc.team-b.svc.cluster.local.:8265",
        "http://demo-head-svc",
        "http://[fd00::7]:8265/api/jobs/",
        "http://[::ffff:10.0.0.7]/",
        "http://[2600:1f14::7]/",
        "http://[64:ff9b::a60:7]/",
        # The ClusterIP of a Service can lead to any port, and no name says which Service it is.
        "http://10.96.0.7/",
        "http://167772167:80/",
        "http://0x0a000007/",
        "http://10-0-0-7.team-a.pod.cluster.local:8265",
        "http://$http_x/api/jobs/",
        "http://${http_x}:8265/",
        "http://demo-head$http_x/",
        "http://shop.team-a.svc:82$arg_x/",
        "$scheme://demo-head-svc.team-a.svc:8265",
        "http://web.team-a.svc/",
        "https://web.team-a.svc:80",
    ],
)
def test_54_mirror_targets(target: str) -> None:
    assert refused(mirror(target), None, ALIAS) == OPEN


@pytest.mark.parametrize(
    "target",
    [
        "https://test.env.com$request_uri",
        "https://test.env.com/$request_uri",
        "http://shop-next.team-a.svc.cluster.local:8080/$uri",
        "http://shop-next.team-a.svc${request_uri}",
        "http://8.8.8.8/",
        "",
    ],
)
def test_54_mirror_targets_elsewhere(target: str) -> None:
    assert passes(mirror(target), None, ALIAS)


def test_54_a_mirror_behind_authentication() -> None:
    document = mirror("http://$http_x/")
    document["metadata"]["annotations"][f"{NGINX}/auth-url"] = "https://sso.example/auth"
    assert passes(document)


@pytest.mark.parametrize("name", ["web", " web "])
def test_54_default_backends_by_annotation(name: str) -> None:
    """The controller takes the first port of the Service."""
    by_hand = related_objects.service(
        selector={"app": "batch"}, ports=[{"port": 80, "targetPort": 8265}]
    )
    document = with_annotation(f"{NGINX}/default-backend", name)
    assert refused(document, None, by_hand) == OPEN


def test_54_an_outside_name_of_an_inside_address_remains() -> None:
    assert passes(mirror("http://10-96-0-7.nip.io/"), None, ALIAS)


def test_54_a_service_of_another_namespace_remains() -> None:
    assert passes(mirror("http://web.team-b.svc/"), None, ALIAS)


def action(text: str) -> Object:
    document = with_annotation(f"{ALB}/actions.go", text)
    backend = {"service": {"name": "go", "port": {"name": "use-annotation"}}}
    edits = {"/spec/rules/0/http/paths/0/backend": backend, "/spec/ingressClassName": "alb"}
    return changed(document, edits)


def forward(targets: str, rest: str = "") -> str:
    return f'{{"type": "forward", {rest}"forwardConfig": {{"targetGroups": [{targets}]}}}}'


@pytest.mark.parametrize(
    "text",
    [
        forward('{"service\\u004eame": "demo-head-svc", "servicePort": 80}'),
        forward('{"serviceName": "demo\\u002dhead-svc", "servicePort": "80"}'),
        # Go compares the names of fields without case, also with the long s and the Kelvin sign.
        forward('{"SERVICENAME": "demo-head-svc", "ServicePort": 80}'),
        forward('{"\u017ferviceName": "demo-head-svc", "servicePort": 80}'),
        forward('{"serviceName":\n\n\n\t          "demo-head-svc", "servicePort": 80}'),
        forward('{"serviceName": "x", "servicePort": "\\u0038265"}'),
        forward('{"serviceName": "x", "servicePort": "+8265"}'),
        forward('{"serviceName": "x", "servicePort": "008265"}'),
        forward('{"serviceName": "shop", "serviceName": "demo-head-svc", "servicePort": 80}'),
        forward('{"serviceName": "web", "servicePort": 80}'),
        forward('{"serviceName": "demo-head-svc", "servicePort": 80}', f'"x": {"9" * 5000}, '),
        # Deeper than Python reads, and not too deep for Go.
        forward(
            '{"serviceName": "demo-head-svc", "servicePort": 80}',
            f'"x": {"[" * 9000}{"]" * 9000}, ',
        ),
        forward(
            ", ".join(f'{{"serviceName": "s{number}", "servicePort": 1}}' for number in range(99))
        ),
    ],
)
def test_55_alb_actions(text: str) -> None:
    assert refused(action(text), None, ALIAS) == OPEN


@pytest.mark.parametrize(
    "text",
    [
        forward('{"serviceName": "shop", "servicePort": 80}'),
        forward(json.dumps({"serviceName": "shop", "servicePort": "http", "weight": 1})),
        '{"type": "redirect", "redirectConfig": {"protocol": "HTTPS", "statusCode": "HTTP_301"}}',
        # The controller refuses what is not JSON.
        "demo-head-svc",
        "{",
        "",
    ],
)
def test_55_actions_that_lead_elsewhere(text: str) -> None:
    assert passes(action(text), None, ALIAS)


def test_55_a_target_group_by_its_name_remains() -> None:
    """A TargetGroupBinding, which is not sent to RayWarden, can fill it with Ray's pods."""
    assert passes(action(forward('{"targetGroupName": "ray"}')), None, ALIAS)
