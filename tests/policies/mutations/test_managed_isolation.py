"""The annotation that asks for NetworkPolicies: who gets it, and that it stays."""

from dataclasses import replace
from typing import Any

import pytest

from policies.configured import Injection, NetworkIsolation
from policies.model import Facts
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import OLD, after, denials, mutated

ANNOTATION = "raywarden.io/network-isolation"
PLACE = "/metadata/annotations/raywarden.io~1network-isolation"
OPT_OUT = "raywarden.io/inject"


def isolation_of(document: Object, given: Facts | None = None) -> str | None:
    """The annotation after admission; None if there is none."""
    annotations = after(document, given or facts())["metadata"].get("annotations") or {}
    value: str | None = annotations.get(ANNOTATION)
    return value


def with_mode(given: Facts, **fields: Any) -> Facts:
    return replace(given, network_isolation=NetworkIsolation.model_validate(fields))


class TestNewClusters:
    def test_the_policy_files_mode_holds_by_default(self) -> None:
        assert isolation_of(factory.ray_cluster()) == "managed"

    @pytest.mark.parametrize("mode", ["members", "deny-ingress", "deny-all"])
    def test_the_authors_mode_stays(self, mode: str) -> None:
        cluster = changed(factory.ray_cluster(), {PLACE: mode})
        assert isolation_of(cluster) == mode

    def test_a_second_run_changes_nothing(self) -> None:
        assert mutated(after(factory.ray_cluster())).operations == []

    def test_marker_mode_adds_it_too(self) -> None:
        assert isolation_of(factory.ray_cluster(), facts(rayCluster="marker")) == "managed"

    def test_other_annotations_stay(self) -> None:
        cluster = changed(factory.ray_cluster(), {"/metadata/annotations": {"team": "ml"}})
        assert after(cluster)["metadata"]["annotations"].items() >= {"team": "ml"}.items()
        assert isolation_of(cluster) == "managed"

    def test_it_does_not_depend_on_who_provides_tls(self) -> None:
        own = factory.with_own_tls(factory.ray_cluster())
        kuberay = factory.ray_cluster(tlsOptions={"enabled": True})
        for cluster in (own, kuberay):
            assert mutated(cluster).mutations == ("managed-isolation",)
            assert isolation_of(cluster) == "managed"

    def test_nothing_is_added_where_the_mode_is_off(self) -> None:
        elsewhere = [{"namespaces": ["team-*"], "mode": "off"}]
        assert isolation_of(factory.ray_cluster(), with_mode(facts(), mode="off")) is None
        assert isolation_of(factory.ray_cluster(), with_mode(facts(), namespaces=elsewhere)) is None

    def test_only_an_allowed_opt_out_counts(self) -> None:
        cluster = changed(factory.ray_cluster(), {"/metadata/labels": {OPT_OUT: "false"}})
        allowed = Injection.model_validate({"optOutNamespaces": ["team-a"]})
        assert isolation_of(cluster) == "managed"
        assert isolation_of(cluster, replace(facts(), injection=allowed)) is None

    @pytest.mark.parametrize("kind", ["rayjob", "rayservice", "raycronjob", "head-pod"])
    def test_other_kinds_do_not_get_it(self, kind: str) -> None:
        assert isolation_of(factory.MINIMAL[kind]()) is None

    def test_annotations_that_are_no_object_are_left(self) -> None:
        cluster = changed(factory.ray_cluster(), {"/metadata/annotations": "none"})
        result = mutated(cluster)
        assert result.document["metadata"]["annotations"] == "none"
        assert result.failed == ()


class TestUpdates:
    stored = after(factory.ray_cluster())

    @pytest.mark.parametrize("mode", ["managed", "deny-all"])
    @pytest.mark.parametrize("sent", [None, {}, {"team": "ml"}])
    def test_a_removed_annotation_is_restored(self, mode: str, sent: Object | None) -> None:
        stored = changed(self.stored, {PLACE: mode})
        update = changed(self.stored, {"/metadata/annotations": sent})
        assert isolation_of(update, facts(OLD, stored)) == mode

    def test_an_empty_one_is_restored_too(self) -> None:
        stored = changed(self.stored, {PLACE: ""})
        assert isolation_of(changed(self.stored, {PLACE: None}), facts(OLD, stored)) == "managed"

    def test_it_is_restored_whoever_provides_tls_and_whatever_the_mode_is_now(self) -> None:
        author = factory.with_own_tls(factory.ray_cluster())
        stored = changed(author, {PLACE: "deny-all"})
        off = with_mode(facts(OLD, stored), mode="off")
        assert isolation_of(author, facts(OLD, stored)) == "deny-all"
        assert isolation_of(author, off) == "deny-all"

    def test_a_cluster_that_was_stored_without_it_stays_without_it(self) -> None:
        for cluster in (factory.ray_cluster(), factory.with_own_tls(factory.ray_cluster())):
            update = changed(cluster, {"/spec/workerGroupSpecs/0/replicas": 3})
            assert mutated(update, facts(OLD, cluster)).operations == []

    def test_the_author_may_tighten_and_loosen(self) -> None:
        for before, now in (("managed", "deny-all"), ("deny-all", "members")):
            stored = changed(self.stored, {PLACE: before})
            update = changed(self.stored, {PLACE: now})
            assert mutated(update, facts(OLD, stored)).operations == []
            assert denials(update, facts(OLD, stored)) == []

    def test_an_update_that_bypassed_the_mutation_cannot_remove_it(self) -> None:
        update = changed(self.stored, {PLACE: None})
        assert denials(update, facts(OLD, self.stored)) == ["no-opt-out"]
        assert denials(update, facts(OLD, self.stored, user=factory.OPERATOR)) == ["no-opt-out"]
        unmanaged = changed(self.stored, {PLACE: None})
        assert denials(unmanaged, facts(OLD, unmanaged)) == []

    def test_administrators_may_remove_it(self) -> None:
        update = changed(self.stored, {PLACE: None})
        administrator = replace(facts(OLD, self.stored, user="alice"), groups=("system:masters",))
        assert denials(update, administrator) == []
