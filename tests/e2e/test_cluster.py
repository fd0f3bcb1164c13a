"""A Ray cluster works with what RayWarden injects and signs, also when workers come and go."""

from collections.abc import Callable

from tests.e2e.ray_cluster import RayCluster, Watch

Say = Callable[[str], None]


def test_tasks_objects_and_actors_work_between_all_pods(training: RayCluster, say: Say) -> None:
    first, second = (worker.address for worker in training.workers)
    for line in training.drive("everything", first, second).splitlines():
        if first in line or second in line:
            say(line)


def test_a_worker_can_be_added_and_another_replaced(training: RayCluster, say: Say) -> None:
    watch = Watch(training)
    (added,) = training.add_workers(1)
    watch.wait_alive(added.address)
    training.drive("pinned", added.address)
    say(f"{added.address} was added later, with a new certificate: a task ran there")

    dead = training.workers[0]
    training.lose(dead)
    watch.wait_dead(dead.address)
    (new,) = training.add_workers(1)
    training.drive("everything", added.address, new.address)
    say(
        f"{dead.address} was killed and replaced by {new.address}: tasks and actors work there, too"
    )
    watch.stop()
