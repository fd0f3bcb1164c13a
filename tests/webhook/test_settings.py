"""What an operator writes into the environment, and what others have put there."""

import subprocess
import sys

import pytest

from webhook.settings import Settings, SetupError, from_environment, unknown


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RAYWARDEN_ADMISION_PORT", "RAYWARDEN_ADMISSION_PORT"),
        ("RAYWARDEN_ENROLL_IMGE", "RAYWARDEN_ENROLL_IMAGE"),
        ("RAYWARDEN_LOGLEVEL", "RAYWARDEN_LOG_LEVEL"),
        ("raywarden_policyfile", "RAYWARDEN_POLICY_FILE"),
    ],
)
def test_a_typo_is_told_with_what_was_meant(variable: str, meant: str) -> None:
    assert list(unknown({variable: "1"})) == [
        f"{variable}: there is no such setting; did you mean {meant}?"
    ]


def test_what_is_like_nothing_we_know_is_told_too() -> None:
    found = list(
        unknown({"RAYWARDEN_XYZZY": "1", "RAYWARDEN_": "", "OTHER": "1", "RAYWARDENX": "1"})
    )
    assert found == [
        "RAYWARDEN_: there is no such setting",
        "RAYWARDEN_XYZZY: there is no such setting",
    ]


def links(service: str, *ports: int) -> dict[str, str]:
    """What the kubelet puts into every container for a Service of its namespace (`pkg/kubelet/envvars`)."""
    found = {f"{service}_SERVICE_HOST": "10.96.0.7", f"{service}_SERVICE_PORT": f"{ports[0]}"}
    found |= {
        f"{service}_SERVICE_PORT_HTTPS": f"{ports[0]}",
        f"{service}_PORT": f"tcp://10.96.0.7:{ports[0]}",
    }
    for port in ports:
        one = f"{service}_PORT_{port}_TCP"
        found |= {one: f"tcp://10.96.0.7:{port}", f"{one}_PROTO": "tcp", f"{one}_PORT": f"{port}"}
        found |= {f"{one}_ADDR": "10.96.0.7"}
    return found


@pytest.mark.parametrize(
    "service", ["RAYWARDEN", "RAYWARDEN_ENROLL", "RAYWARDEN_ADMISSION", "RAYWARDEN_OPERATIONS"]
)
def test_service_links_are_nobodys_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = links(service, 443, 8444)
    assert list(unknown(found)) == []
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = from_environment(strict=True)
    assert (settings.admission_port, settings.operations_port) == (8443, 8080)


def test_a_typo_beside_service_links_is_told() -> None:
    found = {
        **links("RAYWARDEN", 443),
        **links("RAYWARDEN_ENROLL", 8444),
        "RAYWARDEN_ADMISION_PORT": "1",
    }
    assert [line.partition(":")[0] for line in unknown(found)] == ["RAYWARDEN_ADMISION_PORT"]


def test_what_the_init_container_has_is_nobodys_typo() -> None:
    names = ("RAYWARDEN_POD_IP", "RAYWARDEN_SIGNER_URL", "RAYWARDEN_SIGNER_CA")
    assert list(unknown(dict.fromkeys(names, "1"))) == []


def test_every_setting_is_known() -> None:
    assert list(unknown({f"RAYWARDEN_{name.upper()}": "1" for name in Settings.model_fields})) == []


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYWARDEN_NAMESPACE", "Not.One")
    monkeypatch.setenv("RAYWARDEN_ADMISSION_PORT", "many")
    monkeypatch.setenv("RAYWARDEN_HOSTS", "::")
    with pytest.raises(SetupError) as refused:
        from_environment(strict=True)
    said = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert said == ["RAYWARDEN_HOSTS", "RAYWARDEN_ADMISSION_PORT", "RAYWARDEN_NAMESPACE"]


def test_the_signer_is_where_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment().signer_url == "https://raywarden-enroll.raywarden-system.svc:8444"
    monkeypatch.setenv("RAYWARDEN_NAMESPACE", "ray-security")
    assert from_environment().signer_url == "https://raywarden-enroll.ray-security.svc:8444"
    monkeypatch.setenv("RAYWARDEN_SIGNER_URL", "https://elsewhere.example")
    assert from_environment().signer_url == "https://elsewhere.example"


@pytest.mark.parametrize(("command", "code"), [("serve --dev", 2), ("rules", 0)])
def test_only_who_would_run_for_months_does_not_start(command: str, code: int) -> None:
    environment = {"PATH": "/usr/bin:/bin", "RAYWARDEN_POLICIFILE": "policy.yaml"}
    ended = subprocess.run(
        [sys.executable, "-m", "webhook", *command.split()],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == code
    said = "RAYWARDEN_POLICIFILE: there is no such setting; did you mean RAYWARDEN_POLICY_FILE?\n"
    assert ended.stderr == ("raywarden: " if code else "raywarden: warning: ") + said
