"""Row 69: literal credentials, and what only looks like one."""

import time
from itertools import pairwise

import pytest
import yaml

from policies.documents.credentials import assigns_credential, contains_credential, is_credential
from tests.bypasses.admission import HEAD, KINDS, RAY, WORKER, passes, refused
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

CREDENTIALS = {"no-literal-credentials"}
# Put together here, so that no scanner takes this file for a leak.
MIXED = "aB3dE5gH7j" * 10
JWT = ".".join(["eyJ" + MIXED[:17], "eyJ" + MIXED[:20], MIXED[:20]])
FORMS = [
    "sk-" + MIXED[:48],
    "sk-proj-" + MIXED,
    "sk-ant-api03-" + MIXED[:95],
    "glpat-" + MIXED[:20],
    "dckr_pat_" + MIXED[:27],
    "dckr_oat_" + MIXED[:27],
    "github_pat_" + MIXED[:30],
    "nvapi-" + MIXED[:64],
    JWT,
    "Bearer " + JWT,
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + MIXED[:86] + "==",
    "Endpoint=sb://a.example/;SharedAccessKey=" + MIXED[:43] + "=",
    "https://a.blob.core.windows.net/c?sv=2024-11-04&sr=c&sig=" + MIXED[:40] + "%3D",
    "?sv=2024-11-04&sig=" + MIXED[:40] + "%3D",
]
NAMES = [
    "PASS",
    "DB_PASS",
    "APP_SECRETS",
    "GITHUB_PAT",
    "AZURE_STORAGE_KEY",
    "WANDB_KEY",
    "OPENAI_KEY",
    "JWT_SIGNING_KEY",
    "dbPassword",
    "accessToken",
    "apiKey",
    "hf.token",
    "API-KEY",
]
# Names with values that are references to a credential or no credential at all.
HARMLESS = [
    ("IMAGE_PULL_SECRET", "regcred"),
    ("IMAGE_PULL_SECRETS", "regcred, my-registry.example"),
    ("TLS_SECRET", "ray-tls"),
    ("INGRESS_CERT_SECRET", "dashboard.ml-team"),
    ("DB_PASSWORD", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"),
    ("API_TOKEN", "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/token"),
    ("DB_PASSWORD", "acs:kms:cn-hangzhou:1234567890:secret/db"),
    ("DB_PASSWORD", "vault:secret/data/db#password"),
    ("API_KEY", "ref+vault://secret/api#key"),
    ("API_KEY", "op://team/item/key"),
    ("API_KEY", "projects/ml/secrets/api-key/versions/latest"),
    ("API_KEY", "https://team.vault.azure.net/secrets/api-key"),
    ("API_KEY", "ENC[AES256_GCM,data:aaaa,iv:bbbb]"),
    ("HF_TOKEN", "${HF_TOKEN}"),
    ("HF_TOKEN", "$HF_TOKEN"),
    ("HF_TOKEN", "{{ .Values.hfToken }}"),
    ("HF_TOKEN", "$(HF_TOKEN)"),
    ("HF_TOKEN", "YOUR_HF_TOKEN"),
    ("OPENAI_API_KEY", "your-api-key-here"),
    ("HF_TOKEN", "<your token>"),
    ("HF_TOKEN", "REPLACE_ME"),
    ("HF_TOKEN", "sk-xxxxxxxxxxxxxxxxxxxxxxxx"),
    ("OPENAI_API_KEY", "not-needed"),
    ("OPENAI_API_KEY", "sk-no-key-required"),
    ("OPENAI_API_KEY", "EMPTY"),
    ("API_KEY", "none"),
    ("MASK_TOKEN", "[MASK]"),
    ("PAD_TOKEN", "endoftext"),
    ("EOS_TOKEN", "<|im_end|>"),
    ("COST_PER_TOKEN", "0.00015"),
    ("HF_TOKEN", "/var/run/secrets/hf/token"),
    ("SSL_PRIVATE_KEY", "/etc/certs/tls.key"),
    ("SSL_PRIVATE_KEY", "file:///certs/tls.key"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "/gcp/key.json"),
    ("PARTITION_KEY", "customer_id"),
    ("S3_KEY", "models/llama/weights.bin"),
    ("TASK", "task-classification-2024-baseline-run"),
    ("DISK", "disk-aB3dE5gH7jaB3dE5gH7jaB3dE5"),
    ("REDIS", "redis://:${REDIS_PASSWORD}@redis:6379"),
    ("REDIS", "redis://:<password>@redis:6379"),
    ("IMAGE", "registry.example/team/ray@sha256:" + "0123456789abcdef" * 4),
    ("MODULE", "keyJson.keyJson.keyJson"),
    ("CALLBACK", "https://team.example/?sig=short"),
]
# Texts that start a form again and again without ever ending one.
HOSTILE = [
    *("eyJ", "eyJaaaaaaaaaa.", "sk-", "sk-a", "://a:", "AccountKey=", "A=", "--a", "token="),
    *("TOKEN ", "ghp_", "&sig=", "-----BEGIN ", '"a": "', "your-", "<", "${", "a/", "x-", "$(A)"),
]


def env(*entries: tuple[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in entries]


@pytest.mark.parametrize("value", FORMS)
def test_69_forms_of_credentials(value: str) -> None:
    assert refused(changed(ray_cluster(), {f"{RAY}/env": env(("THING", value))})) == CREDENTIALS
    assert refused(changed(ray_cluster(), {f"{RAY}/args": [f"login '{value}' now"]})) == CREDENTIALS
    for embedded in (f"python a.py {value}", f'curl -H "Authorization: {value}"'):
        assert refused(factory.ray_job(entrypoint=embedded)) == CREDENTIALS


@pytest.mark.parametrize("name", NAMES)
def test_69_names_of_credentials(name: str) -> None:
    for kind, place in KINDS:
        for group in ("headGroupSpec", "workerGroupSpecs/0"):
            pointer = f"{place}/{group}/template/spec/containers/0/env"
            assert refused(changed(kind(), {pointer: env((name, "hunter2"))})) == CREDENTIALS
    assert refused(factory.ray_job(metadata={name: "hunter2"})) == CREDENTIALS


@pytest.mark.parametrize("value", ["changeme", "admin", "password", "hunter2", "$ecret1", "/a+b="])
def test_69_weak_passwords_are_passwords(value: str) -> None:
    document = changed(ray_cluster(), {f"{RAY}/env": env(("DB_PASSWORD", value))})
    assert refused(document) == CREDENTIALS


def test_69_the_url_of_a_webhook_is_a_credential() -> None:
    url = "https://hooks.slack.com/services/T000/B000/" + MIXED[:24]
    assert refused(changed(ray_cluster(), {f"{RAY}/env": env(("SLACK_SECRET", url))})) == (
        CREDENTIALS
    )


@pytest.mark.parametrize(
    "entries",
    [
        [("FOO", "hunter2"), ("AWS_SECRET_ACCESS_KEY", "$(FOO)")],
        [("A", "hunter2"), ("B", "$(A)"), ("C", "$(B)"), ("API_KEY", "$(C)")],
        [("A", "hun"), ("B", "ter2"), ("DB_PASSWORD", "$(A)$(B)")],
        [("A", "hunter2"), ("DATABASE", "postgres://app:$(A)@db/app")],
        [("A", "hf_"), ("B", MIXED), ("C", "$(A)$(B)")],
        [("A", "hunter2"), ("A", ""), ("API_KEY", "$(A)")],
    ],
)
def test_69_literals_behind_references(entries: list[tuple[str, str]]) -> None:
    assert refused(changed(ray_cluster(), {f"{RAY}/env": env(*entries)})) == CREDENTIALS
    for pod in (factory.worker_pod(), factory.opted_in_pod(), factory.submitter_pod()):
        before = pod["spec"]["containers"][0].get("env", [])
        document = changed(pod, {"/spec/containers/0/env": [*before, *env(*entries)]})
        assert refused(document) == CREDENTIALS


@pytest.mark.parametrize(
    "command",
    [
        "HF_TOKEN=hunter2 python train.py",
        "export AWS_SECRET_ACCESS_KEY='hunter2' && python train.py",
        "env WANDB_KEY=hunter2 python train.py",
        "python train.py --api-key=hunter2",
        "python train.py --hf-token hunter2",
        "python train.py --db-password 'hunter2'",
        'ray job submit --runtime-env-json \'{"env_vars": {"HF_TOKEN": "hunter2"}}\' -- id',
        "python train.py; DB_PASS=hunter2",
        "mysql -psomething --password=hunter2",
    ],
)
def test_69_credentials_in_commands(command: str) -> None:
    assert refused(factory.ray_job(entrypoint=command)) == CREDENTIALS
    assert refused(factory.ray_cron_job(entrypoint=command)) == CREDENTIALS
    assert refused(changed(ray_cluster(), {f"{RAY}/args": [command]})) == CREDENTIALS
    hook = {"postStart": {"exec": {"command": ["sh", "-c", command]}}}
    sidecar = factory.container("sidecar", lifecycle=hook)
    assert refused(changed(ray_cluster(), {f"{HEAD}/spec/containers/-": sidecar})) == CREDENTIALS


def test_69_options_and_values_in_separate_words() -> None:
    words = ["login", "--token", "hunter2"]
    assert refused(changed(ray_cluster(), {f"{RAY}/args": words})) == CREDENTIALS


@pytest.mark.parametrize("name", ["$(FOO)", "${FOO}"])
def test_69_jobs_that_refer_to_a_literal(name: str) -> None:
    """KubeRay puts the job's fields into the submitter's command; Ray expands `${NAME}`."""
    submitter = factory.ray_job()["spec"]["submitterPodTemplate"]
    submitter["spec"]["containers"][0]["env"] = env(("FOO", "hunter2"))
    content = f"env_vars: {{HF_TOKEN: '{name}'}}"
    document = factory.ray_job(submitterPodTemplate=submitter, runtimeEnvYAML=content)
    assert refused(document) == CREDENTIALS
    serve = f"applications: [{{name: a, runtime_env: {{{content}}}}}]"
    place = "/spec/rayClusterConfig/headGroupSpec/template/spec/containers/0/env"
    service = changed(factory.ray_service(serveConfigV2=serve), {place: env(("FOO", "hunter2"))})
    assert refused(service) == CREDENTIALS
    command = factory.ray_job(
        submitterPodTemplate=submitter, entrypoint="python a.py --token $(FOO)"
    )
    assert refused(command) == CREDENTIALS


@pytest.mark.parametrize(
    "application",
    [
        {"deployments": [{"name": "d", "user_config": {"api_key": "hunter2"}}]},
        {"deployments": [{"name": "d", "user_config": {"db": {"auth": [{"password": "x1y2"}]}}}]},
        {"deployments": [{"name": "d", "user_config": {"openaiApiKey": "hunter2"}}]},
        {"deployments": [{"name": "d", "user_config": ["sk-" + MIXED[:48]]}]},
        {"args": {"hf_token": "hunter2"}},
        {"args": {"llm_configs": [{"runtime_env": {"env_vars": {"HF_TOKEN": "hunter2"}}}]}},
        {"runtime_env": {"config": {"registry_password": "hunter2"}}},
    ],
)
def test_69_credentials_in_serve_applications(application: Object) -> None:
    serve = yaml.safe_dump({"applications": [{"name": "a", **application}]})
    assert refused(factory.ray_service(serveConfigV2=serve)) == CREDENTIALS


@pytest.mark.parametrize(
    "metadata", [{"token": "hunter2"}, {"note": "sk-" + MIXED[:48]}, {"dbUrl": "db://u:p4ss@h/"}]
)
def test_69_credentials_in_the_metadata_of_jobs(metadata: Object) -> None:
    assert refused(factory.ray_job(metadata=metadata)) == CREDENTIALS
    assert refused(factory.ray_cron_job(metadata=metadata)) == CREDENTIALS


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_69_references_and_placeholders_are_allowed(name: str, value: str) -> None:
    entries = env((name, value))
    assert passes(
        changed(
            ray_cluster(),
            {f"{RAY}/env": entries, f"{WORKER}/spec/containers/0/env": entries},
        )
    )
    assert passes(factory.ray_job(metadata={name: value}))
    content = yaml.safe_dump({"env_vars": {name: value}})
    assert passes(factory.ray_job(runtimeEnvYAML=content))


@pytest.mark.parametrize(
    "command",
    [
        "HF_TOKEN=$HF_TOKEN python train.py",
        'export HF_TOKEN="$(cat /secrets/hf)" && python train.py',
        "python train.py --max-tokens 512 --tokenizer bert --key-column id",
        "python train.py --hf-token $HF_TOKEN --pad-token '<pad>' --mask-token [MASK]",
        "python train.py --token --verbose",
        "python train.py --api-key EMPTY --use-auth-token True",
        "python train.py --secret-name db --token-file /secrets/token",
        "wget --tries 1 -T 2 -q -O- http://localhost:52365/api/local_raylet_healthz",
    ],
)
def test_69_commands_without_credentials_are_allowed(command: str) -> None:
    assert passes(factory.ray_job(entrypoint=command))


def test_69_serve_applications_without_credentials_are_allowed() -> None:
    config = {"tokenizer": "bert", "pad_token": "<pad>", "hf_token": "${HF_TOKEN}", "key": "a"}
    deployment = {"name": "d", "user_config": config, "max_ongoing_requests": 5}
    serve = yaml.safe_dump({"applications": [{"name": "a", "deployments": [deployment]}]})
    assert passes(factory.ray_service(serveConfigV2=serve))


@pytest.mark.parametrize("value", ["your_hunter2", "hunter" + "2" * 30])
def test_69_literals_that_nothing_distinguishes_remain(value: str) -> None:
    """A password in a variable with an ordinary name, or one that reads like a placeholder."""
    name = "DB_PASSWORD" if value.startswith("your") else "SETTING"
    assert passes(changed(ray_cluster(), {f"{RAY}/env": env((name, value))}))


@pytest.mark.parametrize("part", HOSTILE)
def test_69_hostile_text_takes_linear_time(part: str) -> None:
    text = part * (1_000_000 // len(part))
    start = time.perf_counter()
    contains_credential(text)
    assigns_credential(f"TOKEN {text}")
    is_credential("A_TOKEN", text)
    is_credential(text, "value")
    assert time.perf_counter() - start < 3


def test_69_references_that_grow_take_bounded_time() -> None:
    names = [f"A{index}" for index in range(200)]
    entries = [(name, f"$({after})$({after})" * 300) for name, after in pairwise(names)]
    document = changed(ray_cluster(), {f"{RAY}/env": env(*entries, ("API_KEY", "$(A0)"))})
    start = time.perf_counter()
    refused(document)
    assert time.perf_counter() - start < 3
