"""Writes files that install the images of a release by digest: for kustomize and for Helm."""

import yaml

_ENROLL_VARIABLE = "RAYWARDEN_ENROLL_IMAGE"
_COMPONENT_HEADER = """\
# Pins the images of RayWarden {version} by digest. Save it as kustomization.yaml in a folder, and
# list that folder under `components` in your overlay.
"""
_VALUES_HEADER = """\
# Pins the images of RayWarden {version} by digest: helm install --values THIS-FILE ...
"""


def component(version: str, repository: str, server: str, enroll: str) -> str:
    """A kustomize component with the digests of the server's image and the init container's."""
    variable = {"name": _ENROLL_VARIABLE, "value": f"{repository}@{enroll}"}
    container = {"name": "raywarden", "env": [variable]}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "raywarden"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": "raywarden", "newName": repository, "digest": server}],
        "patches": [{"patch": _yaml(patch)}],
    }
    return _COMPONENT_HEADER.format(version=version) + _yaml(document)


def values(version: str, repository: str, server: str, enroll: str) -> str:
    """Values of the Helm chart with both digests."""
    document = {
        "image": {"repository": repository, "digest": server},
        "enrollImage": {"repository": repository, "digest": enroll},
    }
    return _VALUES_HEADER.format(version=version) + _yaml(document)


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False)
