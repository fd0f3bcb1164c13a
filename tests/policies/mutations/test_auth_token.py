"""Token authentication: where RayWarden asks KubeRay for it, and which containers get the token."""

from dataclasses import replace
from typing import Any

import pytest

from policies.model import Facts
from policies.ray.operator import KubeRayOperator
from tests.support import factory
from tests.support.factory import Object, changed, container, facts
from tests.support.injection import OLD, after, env, mutated, only

TOKEN = {"mode": "token"}
KUBERNETES = {"mode": "token", "enableK8sTokenAuth": True}
HEAD = "/spec/headGroupSpec/template/spec"
WORKER = "/spec/workerGroupSpecs/0/template/spec"
RAY = f"{HEAD}/containers/0"
SECRET = {"secretKeyRef": {"name": "demo", "key": "auth_token"}}
FROM_JOB = {"ray.io/originated-from-crd": "RayJob"}


def silent(**changes: Any) -> Object:
    """A RayCluster whose author chose no authentication."""
    return changed(factory.ray_cluster(), {"/spec/authOptions": None, **changes})


def options(document: Object, own_facts: Facts | None = None) -> Any:
    return after(document, own_facts)["spec"].get("authOptions")


def knowing(api: KubeRayOperator, **inject: Any) -> Facts:
    """Facts about a cluster whose RayClusters have these fields."""
    known = facts(**inject)
    return replace(known, namespace_state=replace(known.namespace_state, kuberay=api))


class TestAuto:
    def test_a_new_cluster_asks_for_a_token(self) -> None:
        assert options(silent()) == TOKEN

    @pytest.mark.parametrize("version", ["2.54", "2.54.0", "v2.54.1", "2.60.0-py312", "3.0.0"])
    def test_from_the_version_whose_agents_ask(self, version: str) -> None:
        assert options(silent(**{"/spec/rayVersion": version})) == TOKEN

    @pytest.mark.parametrize(
        "version", ["2.53.9", "2.52.0", "2.9.0", "nightly", "", None, "02.60.0", "v02.60.0"]
    )
    def test_not_where_kuberay_refuses_it_or_agents_stay_open(self, version: str | None) -> None:
        assert options(silent(**{"/spec/rayVersion": version})) is None

    def test_not_if_an_image_does_not_know_tokens(self) -> None:
        old = {f"{WORKER}/containers/0/image": "rayproject/ray:2.51.2-gpu"}
        assert options(silent(**old)) is None
        private = {f"{WORKER}/containers/0/image": "registry.example/team/trainer:1.4"}
        assert options(silent(**private)) == TOKEN

    def test_not_where_kuberay_would_drop_it(self) -> None:
        assert options(silent(), knowing(KubeRayOperator(tokens=False))) is None
        assert options(silent(), knowing(KubeRayOperator(tokens=True))) == TOKEN

    @pytest.mark.parametrize(
        "own", [{}, {"mode": "disabled"}, {"mode": "token", "secretName": "own"}]
    )
    def test_the_authors_options_stay(self, own: Object) -> None:
        assert options(factory.ray_cluster(authOptions=own)) == own

    @pytest.mark.parametrize(
        "variable",
        [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": SECRET},
            {"name": "RAY_AUTH_TOKEN_PATH", "value": "/etc/ray-token/token"},
            {"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true"},
        ],
    )
    def test_an_author_who_set_rays_variables_has_chosen(self, variable: Object) -> None:
        """KubeRay 1.5 adds its own beside them, and the last one counts."""
        assert options(silent(**{f"{WORKER}/containers/0/env": [variable]})) is None

    def test_a_proxy_would_not_send_the_token(self) -> None:
        proxy = {f"{HEAD}/containers/-": container("proxy", image="quay.io/x/oauth2-proxy:v7")}
        assert options(silent(**proxy)) is None

    def test_not_where_raywarden_changes_nothing(self) -> None:
        own_tls = factory.with_own_tls(silent())
        assert options(own_tls) is None
        opted_out = silent(**{"/metadata/labels": {"raywarden.io/inject": "false"}})
        assert options(opted_out, facts(optOutNamespaces=["team-*"])) is None

    def test_gitops_gets_it_too_because_pods_cannot_ask_for_the_secret(self) -> None:
        assert options(silent(), facts(rayCluster="marker")) == TOKEN

    def test_the_author_reads_how_to_get_in(self) -> None:
        (warning,) = mutated(silent()).warnings
        assert warning.endswith(
            "kubectl get secret demo --namespace team-a "
            "-o jsonpath='{.data.auth_token}' | base64 -d"
        )
        unnamed = silent(**{"/metadata/name": None, "/metadata/generateName": "demo-"})
        assert "secret NAME-OF-THE-RAYCLUSTER " in mutated(unnamed).warnings[0]
        long = silent(**{"/metadata/name": "a1" * 30})
        assert f"secret {'a1' * 25} " in mutated(long).warnings[0]
        digits = silent(**{"/metadata/name": "b" + "1" * 50})
        assert f"secret r{'1' * 49} " in mutated(digits).warnings[0]
        assert mutated(factory.ray_cluster()).warnings == ()


class TestOtherSettings:
    def test_off(self) -> None:
        assert options(silent(), facts(auth="off")) is None

    def test_token_also_where_agents_stay_open(self) -> None:
        assert options(silent(**{"/spec/rayVersion": "2.52.0"}), facts(auth="token")) == TOKEN
        old = mutated(silent(**{"/spec/rayVersion": "2.51.0"}), facts(auth="token"))
        assert "authOptions" not in old.document["spec"]
        assert "only where spec.rayVersion is 2.52 or later" in old.warnings[0]

    def test_token_names_the_kuberay_it_needs(self) -> None:
        result = mutated(silent(), knowing(KubeRayOperator(tokens=False), auth="token"))
        assert "1.5.1 and later do" in result.warnings[0]

    def test_kubernetes(self) -> None:
        result = mutated(silent(), facts(auth="kubernetes"))
        assert result.document["spec"]["authOptions"] == KUBERNETES
        assert "ray:write" in result.warnings[0]

    def test_ray_keeps_the_token_with_which_it_asks_the_api_server(self) -> None:
        spec = after(silent(), facts(auth="kubernetes"))["spec"]
        template = spec["headGroupSpec"]["template"]["spec"]
        assert "automountServiceAccountToken" not in template

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"/spec/rayVersion": "2.54.0"}, "2.55 does"),
            ({f"{RAY}/image": "rayproject/ray:2.54.0"}, "2.55 does"),
            ({f"{HEAD}/automountServiceAccountToken": False}, "the head sets automount"),
        ],
    )
    def test_kubernetes_falls_back_to_a_token(self, changes: Object, reason: str) -> None:
        result = mutated(silent(**changes), facts(auth="kubernetes"))
        assert result.document["spec"]["authOptions"] == TOKEN
        assert reason in result.warnings[0]

    def test_kubernetes_with_a_kuberay_that_does_not_know_it(self) -> None:
        older = knowing(KubeRayOperator(tokens=True, kubernetes_tokens=False), auth="kubernetes")
        assert options(silent(), older) == TOKEN

    def test_kuberay_refuses_kubernetes_tokens_for_jobs(self) -> None:
        of_job = silent(**{"/metadata/labels": FROM_JOB})
        assert options(of_job, facts(auth="kubernetes")) == TOKEN


class TestUpdates:
    @pytest.mark.parametrize("stored", [TOKEN, KUBERNETES])
    def test_a_second_apply_keeps_what_was_stored(self, stored: Object) -> None:
        before = after(factory.ray_cluster(authOptions=stored))
        assert options(silent(), facts(OLD, before, auth="off")) == stored

    def test_a_cluster_without_tokens_stays_without(self) -> None:
        before = after(silent(), facts(auth="off"))
        assert options(silent(), facts(OLD, before)) is None

    def test_an_author_may_remove_their_own_secret(self) -> None:
        before = after(factory.ray_cluster(authOptions={**TOKEN, "secretName": "own"}))
        assert options(silent(), facts(OLD, before)) is None

    def test_an_author_may_turn_it_off(self) -> None:
        before = after(silent())
        off = factory.ray_cluster(authOptions={"mode": "disabled"})
        assert options(off, facts(OLD, before)) == {"mode": "disabled"}


def head_with(*containers: Object, **ray: Any) -> Object:
    """A head pod as KubeRay creates it with token authentication."""
    pod = factory.head_pod()
    pod["spec"]["containers"] = [{**factory.token_container("ray-head"), **ray}, *containers]
    return pod


class TestPods:
    def test_the_submitter_in_the_head_gets_the_token(self) -> None:
        """KubeRay builds it from the RayJob, before the RayCluster has its `authOptions`."""
        submitter = container("ray-job-submitter", env=[{"name": "PYTHONUNBUFFERED", "value": "1"}])
        variables = env(only(after(head_with(submitter)), "ray-job-submitter"))
        assert variables["RAY_AUTH_MODE"] == "token"
        assert variables["RAY_AUTH_TOKEN"] == SECRET
        assert variables["PYTHONUNBUFFERED"] == "1"

    def test_so_does_an_init_container_with_rays_image(self) -> None:
        pod = head_with()
        pod["spec"]["initContainers"] = [container("warm-up"), container("git", image="git:1")]
        result = after(pod)
        assert env(only(result, "warm-up", "initContainers"))["RAY_AUTH_TOKEN"] == SECRET
        assert "env" not in only(result, "git", "initContainers")

    def test_containers_that_kuberay_completed_stay(self) -> None:
        autoscaler = factory.token_container("autoscaler")
        result = only(after(head_with(autoscaler)), "autoscaler")
        names = [entry["name"] for entry in result["env"]]
        assert names.count("RAY_AUTH_MODE") == names.count("RAY_AUTH_TOKEN") == 1

    @pytest.mark.parametrize("own", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
    def test_an_authors_token_stays(self, own: str) -> None:
        driver = container("driver", env=[{"name": own, "value": "/own"}])
        variables = env(only(after(head_with(driver)), "driver"))
        assert variables[own] == "/own"
        assert variables["RAY_AUTH_MODE"] == "token"
        assert len({"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & variables.keys()) == 1

    def test_a_literal_token_is_not_copied(self) -> None:
        literal = [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "value": "hunter2"},
        ]
        result = after(head_with(container("driver"), env=literal))
        assert "RAY_AUTH_TOKEN" not in env(only(result, "driver"))

    def test_a_kubernetes_token_comes_with_its_mount(self) -> None:
        mount = {"name": "ray-token", "mountPath": "/var/run/secrets/ray.io/serviceaccount"}
        switches = [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true"},
        ]
        pod = head_with(container("driver"), env=switches, volumeMounts=[mount])
        driver = only(after(pod), "driver")
        assert env(driver)["RAY_ENABLE_K8S_TOKEN_AUTH"] == "true"
        assert mount in driver["volumeMounts"]

    def test_nothing_without_token_mode(self) -> None:
        pod = head_with(container("ray-job-submitter"), env=[])
        assert "RAY_AUTH_MODE" not in env(only(after(pod), "ray-job-submitter"))
