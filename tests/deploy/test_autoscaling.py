"""The HorizontalPodAutoscaler fits the Deployment that it scales."""

from tests.support.deployed import only, rendered
from tests.support.paths import DEPLOY

_OVERLAY = DEPLOY / "overlays" / "autoscaling"


def test_it_alone_sets_the_number_of_replicas() -> None:
    objects = rendered(_OVERLAY)
    target = only(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    deployment = only(objects, target["kind"], target["name"])
    assert deployment["apiVersion"] == target["apiVersion"]
    assert "replicas" not in deployment["spec"], "each apply would set the number back"


def test_it_keeps_more_replicas_than_must_be_available() -> None:
    objects = rendered(_OVERLAY)
    spec = only(objects, "HorizontalPodAutoscaler")["spec"]
    budget = only(objects, "PodDisruptionBudget")["spec"]["minAvailable"]
    assert budget < spec["minReplicas"] < spec["maxReplicas"]


def test_it_scales_before_a_process_has_used_up_its_core() -> None:
    objects = rendered(_OVERLAY)
    (metric,) = only(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    used = _cores(metric["resource"]["target"]["averageValue"])
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert _cores(container["resources"]["requests"]["cpu"]) < used < 1
    assert _cores(container["resources"]["limits"]["cpu"]) > 1, "the limit would hide the load"


def _cores(quantity: str) -> float:
    milli = quantity.removesuffix("m")
    return float(milli) / 1000 if milli != quantity else float(quantity)
