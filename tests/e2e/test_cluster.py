"""Ray lives on what we inject and sign: head, workers, one added later, one killed and replaced."""

from collections.abc import Callable

from tests.e2e.ray_cluster import RayCluster, Watch

Say = Callable[[str], None]


def test_tasks_objects_and_actors_cross_every_border(training: RayCluster, say: Say) -> None:
    one, other = (worker.address for worker in training.workers)
    for line in training.drive("everything", one, other).splitlines():
        if one in line or other in line:
            say(line)


def test_a_worker_comes_later_and_another_is_replaced(training: RayCluster, say: Say) -> None:
    watch = Watch(training)
    (added,) = training.add_workers(1)
    watch.wait_alive(added.address)
    training.drive("pinned", added.address)
    say(
        f"{added.address} came later, with a certificate that did not exist before: a task ran there"
    )

    lost = training.workers[0]
    training.lose(lost)
    watch.wait_dead(lost.address)
    (new,) = training.add_workers(1)
    training.drive("everything", added.address, new.address)
    say(
        f"{lost.address} was killed, {new.address} took its place: tasks and actors cross there, too"
    )
    watch.stop()
