"""RayWarden is taken away and comes back, while Ray runs."""

from tests.node.installation import Installation
from tests.node.steps.ray_cluster import TrainingCluster
from tests.node.trial import Trial


def uninstall(installation: Installation, training: TrainingCluster) -> str:
    """Uninstall as documented; a running cluster goes on."""
    training.ensure()
    seen = installation.uninstall()
    return f"{seen}; without RayWarden a task ran on {training.run_task()}"


def reinstall(trial: Trial, installation: Installation, training: TrainingCluster) -> str:
    """Install again with the saved seed; the old head and a new worker understand each other."""
    installation.restore_seed()
    seen = installation.install()
    before = training.run_task()
    trial.progress.note(f"a task ran on {before}; replacing that worker")
    trial.kubectl.must("delete", "pod", before, f"--namespace={training.namespace}", seconds=120)
    training.wait_replaced(before)
    after = training.run_task()
    return f"{seen}; a task ran on {before}, and on the new worker {after}"
