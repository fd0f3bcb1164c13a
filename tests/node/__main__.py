"""`make e2e-node`: tries RayWarden on the cluster in KUBECONFIG, and leaves nothing behind."""

import signal
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tests.node import run
from tests.node.installation import Installation
from tests.node.kubectl import CommandError, Kubectl
from tests.node.manifests import RayImage, own_namespace
from tests.node.ownership import RefusedError, refuse_to_touch_others
from tests.node.plan import Step, UnknownStepError, chosen
from tests.node.progress import Progress
from tests.node.steps.deployment import run_deployment
from tests.node.steps.intruders import STRANGER, Intruders
from tests.node.steps.ray_cluster import TrainingCluster
from tests.node.steps.ray_job import MODES, run_job
from tests.node.steps.ray_service import ServiceTrial
from tests.node.steps.replica import end_a_replica
from tests.node.steps.uninstall import reinstall, uninstall
from tests.node.trial import Images, Trial
from tests.node.versions import UnfitClusterError, Versions, discover
from tests.support.deployed import BASE, kubectl

NAMESPACES = (*map(own_namespace, ("training", "batch", "serving", "web")), STRANGER)
_IMAGE = f"raywarden:{version('raywarden')}"
_RAY = "rayproject/ray:2.60.0"


def steps_of(trial: Trial, installation: Installation, versions: Versions) -> list[Step]:
    """All steps in their order."""
    training = TrainingCluster(trial, installation)
    jobs = [
        Step(name, partial(run_job, trial, versions.kuberay, mode), "install")
        for name, mode in MODES.items()
    ]
    again = partial(reinstall, trial, installation, training)
    return [
        Step("install", installation.install, own_installation=True),
        Step("raycluster", training.run, "install"),
        Step("autoscaling", training.scale, "install"),
        *jobs,
        Step("rayservice", lambda: ServiceTrial(trial).run(), "install"),
        Step("deployment", partial(run_deployment, trial), "install"),
        Step("intruders", Intruders(trial, training).run, "install"),
        Step("replica", partial(end_a_replica, trial, installation, training), "install", True),
        Step("uninstall", partial(uninstall, installation, training), "install", True),
        Step("reinstall", again, "uninstall", True),
    ]


def main(
    only: Annotated[str, typer.Option(help="Steps to run, by spaces. Default: all.")] = "",
    keep: Annotated[bool, typer.Option(help="Delete nothing at the end.")] = False,
    clean: Annotated[bool, typer.Option(help="Delete what earlier runs left, and stop.")] = False,
    overlay: Annotated[Path, typer.Option(help="What to install.", exists=True)] = BASE,
    image: Annotated[str, typer.Option(help="RayWarden's image.")] = _IMAGE,
    enroll_image: Annotated[
        str, typer.Option(help="The init container's image. Default: IMAGE-enroll.")
    ] = "",
    ray_image: Annotated[str, typer.Option(help="Ray's image.")] = _RAY,
    ray_version: Annotated[
        str, typer.Option(help="Ray's version, if the tag does not say it.")
    ] = "",
    patience: Annotated[
        float, typer.Option(help="Multiplies every wait: 3 where nodes must pull images first.")
    ] = 1.0,
    use_installed: Annotated[
        bool, typer.Option(help="Try the RayWarden that is installed, and leave it as it is.")
    ] = False,
    beside_others: Annotated[
        bool, typer.Option(help="Run although the cluster has RayClusters of others.")
    ] = False,
) -> None:
    """Try RayWarden on the cluster in KUBECONFIG: install it, run Ray, uninstall it.

    It creates namespaces of its own and deletes them at the end, also after Ctrl-C. Exit codes: 0
    if every step passed, 1 if one failed or something was left behind, 2 if the run was refused.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell may start programs in the background with SIGINT ignored.
        signal.signal(number, signal.default_int_handler)
    program, progress = Kubectl(kubectl() or "kubectl"), Progress(patience)
    if clean:
        raise typer.Exit(run.clean(program, progress))
    ray = RayImage.of(ray_image, ray_version)
    if not ray.version:
        _refuse(f"the tag of {ray_image} has no version: say --ray-version 2.60.0")
    try:
        versions = discover(program)
        refuse_to_touch_others(
            program, NAMESPACES, use_installed=use_installed, beside_others=beside_others
        )
    except (UnfitClusterError, RefusedError, CommandError) as refusal:
        _refuse(str(refusal))
    progress.say(
        f"Kubernetes {versions.kubernetes}, KubeRay {versions.kuberay}, Ray {ray.version} "
        f"({ray.name}), RayWarden {image}, settings: {', '.join(versions.settings) or 'none'}"
    )
    images = Images(image, enroll_image or f"{image}-enroll", ray)
    with tempfile.TemporaryDirectory(prefix="raywarden-node-") as folder:
        trial = Trial(program, progress, images, Path(folder))
        installation = Installation(trial, overlay)
        try:
            planned = chosen(steps_of(trial, installation, versions), only.split())
        except UnknownStepError as unknown:
            _refuse(str(unknown))
        this = run.Run(program, progress, versions, ray.version, keep, use_installed)
        raise typer.Exit(this.carry_out(planned, complete=not only))


def _refuse(reason: str) -> None:
    print(f"e2e-node: {reason}", file=sys.stderr)
    raise typer.Exit(run.REFUSED)


if __name__ == "__main__":
    typer.run(main)
