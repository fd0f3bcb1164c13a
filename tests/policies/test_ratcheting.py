"""Ratcheting: an update is refused for new violations, and only warned about stored ones."""

from tests.support import factory
from tests.support.factory import Object, changed, request, reviewer

HOST_NETWORK = "/spec/headGroupSpec/template/spec/hostNetwork"
OFFENDER = changed(factory.ray_cluster(), {HOST_NETWORK: True})


class TestRatcheting:
    def verdict(self, new: Object, old: Object) -> tuple[list[str], list[str]]:
        verdict = reviewer().verdict(request(new, "UPDATE", old))
        warned = [v.message for v in verdict.warned if v.rule != "tls-on"]
        return [v.message for v in verdict.denied], warned

    def test_a_stored_violation_only_warns(self) -> None:
        grown = changed(OFFENDER, {"/spec/workerGroupSpecs/0/replicas": 2})
        assert self.verdict(grown, OFFENDER) == ([], ["the head sets hostNetwork"])

    def test_a_new_violation_is_denied(self) -> None:
        worse = changed(OFFENDER, {"/spec/workerGroupSpecs/0/template/spec/hostPID": True})
        assert self.verdict(worse, OFFENDER) == (
            ["the worker group small sets hostPID"],
            ["the head sets hostNetwork"],
        )

    def test_a_second_violation_with_the_same_message_is_new(self) -> None:
        ports = "/spec/headGroupSpec/template/spec/containers/0/ports"
        one_port = changed(factory.ray_cluster(), {ports: [{"hostPort": 80}]})
        two_ports = changed(factory.ray_cluster(), {ports: [{"hostPort": 80}, {"hostPort": 80}]})
        assert len(self.verdict(new=two_ports, old=one_port)[0]) == 1

    def test_the_same_message_about_another_value_is_new(self) -> None:
        param = "/spec/headGroupSpec/rayStartParams/num-cpus"
        old = changed(factory.ray_cluster(), {param: "1 "})
        worse = changed(factory.ray_cluster(), {param: "1;export RAY_USE_TLS=0"})
        assert len(self.verdict(worse, old)[0]) == 1
        assert self.verdict(old, old)[0] == []

    def test_list_positions_do_not_matter(self) -> None:
        groups = "/spec/workerGroupSpecs"
        violating = changed(factory.ray_cluster(), {f"{groups}/0/template/spec/hostPID": True})
        new_group = {**factory.cluster_spec()["workerGroupSpecs"][0], "groupName": "new"}
        moved = changed(violating, {groups: [new_group, *violating["spec"]["workerGroupSpecs"]]})
        assert self.verdict(moved, violating)[0] == []

    def test_fixing_a_violation_is_never_refused(self) -> None:
        assert self.verdict(factory.ray_cluster(), OFFENDER) == ([], [])
