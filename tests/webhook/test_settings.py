"""Settings from the environment: those of an operator, and variables Kubernetes adds."""

import subprocess
import sys

import pytest

from webhook.settings import Settings, SetupError, from_environment, unknown_variables


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("RAYWARDEN_ADMISION_PORT", "RAYWARDEN_ADMISSION_PORT"),
        ("RAYWARDEN_ENROLL_IMGE", "RAYWARDEN_ENROLL_IMAGE"),
        ("RAYWARDEN_LOGLEVEL", "RAYWARDEN_LOG_LEVEL"),
        ("raywarden_policyfile", "RAYWARDEN_POLICY_FILE"),
    ],
)
def test_a_typo_gets_a_suggestion(variable: str, suggestion: str) -> None:
    assert list(unknown_variables({variable: "1"})) == [
        f"{variable}: there is no such setting; did you mean {suggestion}?"
    ]


def test_an_unknown_variable_is_reported_without_a_suggestion() -> None:
    environment = {"RAYWARDEN_XYZZY": "1", "RAYWARDEN_": "", "OTHER": "1", "RAYWARDENX": "1"}
    assert list(unknown_variables(environment)) == [
        "RAYWARDEN_: there is no such setting",
        "RAYWARDEN_XYZZY: there is no such setting",
    ]


def links(service: str, *ports: int) -> dict[str, str]:
    """The variables the kubelet adds to every container for a Service (`pkg/kubelet/envvars`)."""
    address, first = "10.96.0.7", ports[0]
    variables = {
        f"{service}_SERVICE_HOST": address,
        f"{service}_SERVICE_PORT": f"{first}",
        f"{service}_SERVICE_PORT_HTTPS": f"{first}",
        f"{service}_PORT": f"tcp://{address}:{first}",
    }
    for port in ports:
        prefix = f"{service}_PORT_{port}_TCP"
        variables[prefix] = f"tcp://{address}:{port}"
        variables[f"{prefix}_PROTO"] = "tcp"
        variables[f"{prefix}_PORT"] = f"{port}"
        variables[f"{prefix}_ADDR"] = address
    return variables


@pytest.mark.parametrize(
    "service", ["RAYWARDEN", "RAYWARDEN_ENROLL", "RAYWARDEN_ADMISSION", "RAYWARDEN_OPERATIONS"]
)
def test_service_links_are_not_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = links(service, 443, 8444)
    assert list(unknown_variables(variables)) == []
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = from_environment(strict=True)
    assert (settings.admission_port, settings.operations_port) == (8443, 8080)


def test_a_typo_beside_service_links_is_reported() -> None:
    environment = {
        **links("RAYWARDEN", 443),
        **links("RAYWARDEN_ENROLL", 8444),
        "RAYWARDEN_ADMISION_PORT": "1",
    }
    assert [line.partition(":")[0] for line in unknown_variables(environment)] == [
        "RAYWARDEN_ADMISION_PORT"
    ]


def test_the_variables_of_the_init_container_are_not_typos() -> None:
    names = ("RAYWARDEN_POD_IP", "RAYWARDEN_SIGNER_URL", "RAYWARDEN_SIGNER_CA")
    assert list(unknown_variables(dict.fromkeys(names, "1"))) == []


def test_every_setting_is_known() -> None:
    assert (
        list(
            unknown_variables({f"RAYWARDEN_{name.upper()}": "1" for name in Settings.model_fields})
        )
        == []
    )


def test_all_problems_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYWARDEN_NAMESPACE", "Not.One")
    monkeypatch.setenv("RAYWARDEN_ADMISSION_PORT", "many")
    monkeypatch.setenv("RAYWARDEN_HOSTS", "::")
    with pytest.raises(SetupError) as error:
        from_environment(strict=True)
    variables = [line.partition(":")[0] for line in str(error.value).splitlines()]
    assert variables == ["RAYWARDEN_HOSTS", "RAYWARDEN_ADMISSION_PORT", "RAYWARDEN_NAMESPACE"]


def test_the_signer_url_follows_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment().signer_url == "https://raywarden-enroll.raywarden-system.svc:8444"
    monkeypatch.setenv("RAYWARDEN_NAMESPACE", "ray-security")
    assert from_environment().signer_url == "https://raywarden-enroll.ray-security.svc:8444"
    monkeypatch.setenv("RAYWARDEN_SIGNER_URL", "https://elsewhere.example")
    assert from_environment().signer_url == "https://elsewhere.example"


@pytest.mark.parametrize(("command", "code"), [("serve --dev", 2), ("rules", 0)])
def test_an_unknown_variable_stops_the_server_and_only_warns_other_commands(
    command: str, code: int
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "RAYWARDEN_POLICIFILE": "policy.yaml"}
    ended = subprocess.run(
        [sys.executable, "-m", "webhook", *command.split()],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == code
    problem = "RAYWARDEN_POLICIFILE: there is no such setting; did you mean RAYWARDEN_POLICY_FILE?"
    prefix = "raywarden: " if code else "raywarden: warning: "
    assert ended.stderr == f"{prefix}{problem}\n"
