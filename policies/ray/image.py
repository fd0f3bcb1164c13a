"""Image references: `registry:5000/team/ray:2.55.1-gpu@sha256:...`."""


def repository_of(image: str) -> str:
    """An image reference without tag, digest and Docker Hub's own name: `docker.io/team/ray:2.52.0` -> `team/ray`."""
    name = image.partition("@")[0].removeprefix("index.docker.io/").removeprefix("docker.io/")
    path, slash, last = name.rpartition("/")
    return path + slash + last.partition(":")[0]


def is_ray_image(image: str) -> bool:
    """An image of Ray's makers, also by way of a mirror: `rayproject/ray`, `mirror.example/rayproject/ray-ml`."""
    owner, _, name = repository_of(image).rpartition("/")
    return owner.rpartition("/")[2] == "rayproject" and (name == "ray" or name.startswith("ray-"))


def tag_of(image: str) -> str:
    """`2.55.1-gpu`; empty where there is none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def digest_of(image: str) -> str:
    """`sha256:...`; empty where there is none."""
    return image.partition("@")[2]
