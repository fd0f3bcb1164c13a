"""What the trial of a RayService says when Ray Serve fails."""

from pathlib import Path

import pytest

from tests.node.fake_cluster import FakeCluster
from tests.node.manifests import RayImage
from tests.node.progress import Progress
from tests.node.result import StepError
from tests.node.steps.ray_service import ServiceTrial
from tests.node.trial import Images, Trial


def test_an_application_that_ray_serve_cannot_deploy_ends_the_step_with_its_message(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster()
    images = Images("raywarden:x", "raywarden:x-enroll", RayImage.of("rayproject/ray:2.55.1"))
    progress = Progress(say=list[str]().append, sleep=lambda _: None)
    trial = Trial(cluster.kubectl, progress, images, tmp_path)
    service = ServiceTrial(trial)
    caller = cluster.add("pods", "caller", service.namespace, app="caller")
    caller["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    application = {"status": "DEPLOY_FAILED", "message": "Traceback:\n  ...\nNameError: no x\n"}
    stored = cluster.add("rayservice", "text", service.namespace)
    stored["status"] = {
        "activeServiceStatus": {"rayClusterStatus": {}},
        "pendingServiceStatus": {"applicationStatuses": {"summarize": application}},
    }
    with pytest.raises(StepError, match=r"Ray Serve cannot deploy summarize: NameError: no x$"):
        service.run()
