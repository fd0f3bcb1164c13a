"""Roles and RoleBindings in RayWarden's cache."""

from typing import Any

from policies.cluster.rbac import Power
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation, following, until
from tests.webhook.kube.test_memory import OPERATOR, RBAC, role, stored, watched
from webhook.kube.api import KubeApi
from webhook.kube.store import RoleBindingStore, RoleStore


def granted(namespace: str, *subjects: Any, role: str = "kuberay-operator") -> dict[str, Any]:
    """A RoleBinding in `namespace`; a subject is an account as (namespace, name), or a group."""
    listed = []
    for subject in subjects:
        if isinstance(subject, str):
            listed.append({"kind": "Group", "name": subject})
        else:
            namespace_of_account, name = subject
            account = {"namespace": namespace_of_account, "name": name}
            listed.append({"kind": "ServiceAccount", **account})
    reference = {"apiGroup": RBAC, "kind": "Role", "name": role}
    return stored("granted", namespace, roleRef=reference, subjects=listed)


@conversation
async def test_role_bindings_count_in_their_namespace_and_for_their_accounts(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    local = {**role("update"), "metadata": stored("kuberay-operator", "ray")["metadata"]}
    fake.put("roles", local)
    fake.put("rolebindings", granted("ray", ("kuberay-system", "kuberay-operator")))
    power = Power("create pods", "ray")
    async with following(api) as live:

        def runs(namespace: str) -> bool:
            return live.state_of(namespace).runs_kuberay(OPERATOR)

        def powers(namespace: str, account: str) -> set[Power]:
            return set(live.state_of(namespace).powers_of(namespace, account))

        def of_group(group: str) -> Power:
            return power._replace(group=group)

        assert runs("ray") and not runs("other") and not runs("kuberay-system")
        assert live.state_of("ray").rbac.operators == frozenset()
        assert powers("kuberay-system", "kuberay-operator") == {power}
        assert powers("ray", "kuberay-operator") == set()
        await watched(fake, "roles", "rolebindings")
        fake.put("rolebindings", granted("ray", "system:serviceaccounts:team"))
        await until(lambda: powers("team", "any") == {of_group("system:serviceaccounts:team")})
        assert not runs("ray") and powers("kuberay-system", "kuberay-operator") == set()
        fake.put("rolebindings", granted("ray", "system:serviceaccounts"))
        await until(lambda: powers("elsewhere", "any") == {of_group("system:serviceaccounts")})
        fake.put("rolebindings", granted("ray", "people", ("team", "a")))
        await until(lambda: powers("team", "a") == {power} and not powers("elsewhere", "any"))
        fake.put("roles", {**local, "rules": []})
        await until(lambda: powers("team", "a") == set())
        fake.put("roles", local)
        await until(lambda: powers("team", "a") == {power})
        fake.delete("rolebindings", "ray", "granted")
        await until(lambda: powers("team", "a") == set())


def test_only_role_bindings_of_service_accounts_are_kept() -> None:
    store = RoleBindingStore()
    store.put("ray", "people", granted("ray", "people", "system:masters"))
    assert len(store) == 0
    many = [("team", f"account-{number}") for number in range(1000)]
    store.put("ray", "granted", granted("ray", *many))
    binding = store.inside.get("ray", "granted")
    assert binding and len(binding.users) == 256 and len(store.about) == 1
    store.put("ray", "granted", granted("ray", ("team", "a" * 10_000)))
    assert len(store) == len(store.about) == 0


def test_only_roles_that_matter_are_kept() -> None:
    store = RoleStore()
    store.put("ray", "kuberay-operator", role("update"))
    assert len(store) == 1
    harmless = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    store.put("ray", "kuberay-operator", {"rules": harmless})
    assert len(store) == 0
