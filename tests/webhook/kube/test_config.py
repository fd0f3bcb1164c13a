"""How the client finds the API server: in a pod, with a kubeconfig, and errors if neither works."""

import asyncio
import json
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.aio.config import incluster_config, kube_config

from tests.apiserver.pki import Pki
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import (
    TOKEN,
    free_port,
    kubeconfig_for,
    listening,
    problem,
    write_kubeconfig,
)
from webhook.kube.api import KubeApi
from webhook.kube.request import Resource

PODS = Resource("", "v1", "pods")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pod, no kubeconfig in the home folder, and a proxy that does not exist."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "home"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[FakeKubeApi, ssl.SSLContext]:
    """The environment, token and CA that the kubelet gives a pod, and the server they name."""
    fake, pki = FakeKubeApi(free_port()), Pki(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pki.certify("server"))
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(fake.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(pki.ca))
    return fake, context


def test_in_a_pod_the_client_uses_the_service_account_and_no_proxy(
    in_pod: tuple[FakeKubeApi, ssl.SSLContext],
) -> None:
    fake, context = in_pod

    async def main() -> None:
        async with listening(fake, context), await KubeApi.connect() as api:
            assert await api.get(PODS, "ray", "one") is None
        assert fake.seen[0].headers["Authorization"] == f"bearer {TOKEN}"

    asyncio.run(main())


def test_the_token_is_read_again_after_it_changes(
    in_pod: tuple[FakeKubeApi, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, context = in_pod
    clock = SimpleNamespace(now=datetime.now)
    monkeypatch.setattr(
        incluster_config, "datetime", SimpleNamespace(datetime=clock, timedelta=timedelta)
    )

    async def main() -> None:
        async with listening(fake, context), await KubeApi.connect() as api:
            (tmp_path / "token").write_text("the next one")
            await api.get(PODS, "ray", "one")
            clock.now = lambda: datetime.now() + timedelta(minutes=2)
            await api.get(PODS, "ray", "one")
            assert [seen.headers["Authorization"] for seen in fake.seen] == [
                f"bearer {TOKEN}",
                "bearer the next one",
            ]
            (tmp_path / "token").unlink()
            clock.now = lambda: datetime.now() + timedelta(minutes=4)
            assert "token cannot be read" in str(await problem(api.get(PODS, "ray", "one")))

    asyncio.run(main())


def test_a_kubeconfig_takes_precedence_and_may_use_a_proxy(
    in_pod: tuple[FakeKubeApi, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeKubeApi(free_port())

    async def main() -> None:
        async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            error = await problem(api.get(PODS, "ray", "one"))
            assert "cannot be reached at 127.0.0.1:1 (" in str(error)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert await api.get(PODS, "ray", "one") is None
            assert len(fake.seen) == 1

    asyncio.run(main())


def test_outside_a_pod_the_users_own_kubeconfig_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeKubeApi(free_port())
    kubeconfig_for(fake, tmp_path).rename(tmp_path / "home")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    async def main() -> None:
        async with listening(fake), await KubeApi.connect() as api:
            assert await api.get(PODS, "ray", "one") is None

    asyncio.run(main())


def test_a_server_with_another_ca_is_not_trusted(
    in_pod: tuple[FakeKubeApi, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, context = in_pod
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(Pki(tmp_path / "other").ca))

    async def main() -> None:
        async with listening(fake, context), await KubeApi.connect() as api:
            error = await problem(api.get(PODS, "ray", "one"))
            assert "certificate is not trusted" in str(error)
        assert not fake.seen

    asyncio.run(main())


def test_without_any_configuration_the_error_says_what_to_do() -> None:
    error = str(asyncio.run(problem(KubeApi.connect())))
    assert "in a pod, mount the service account's token; elsewhere, set KUBECONFIG" in error


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "users: [",
        "current-context: none\ncontexts: []\nclusters: []\nusers: []\n",
        f"users: [{{token: {TOKEN}}}]\n",
        json.dumps(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": TOKEN}}],
            }
        ),
    ],
)
def test_an_unusable_kubeconfig_is_named_and_not_quoted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    error = asyncio.run(problem(KubeApi.connect(file)))
    assert str(error).startswith(f"kubeconfig {file} cannot be used (")
    assert str(error).endswith("): check it with kubectl")


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    error = asyncio.run(problem(KubeApi.connect(tmp_path / "missing")))
    assert str(error) == f"kubeconfig {tmp_path / 'missing'}: no such file"


def test_malformed_certificates_are_reported(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no PEM")
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": str(tmp_path / "ca.crt")}
    file = write_kubeconfig(tmp_path / "config", cluster, {"token": TOKEN})
    error = asyncio.run(problem(KubeApi.connect(file)))
    assert "the certificates or the key" in str(error)
