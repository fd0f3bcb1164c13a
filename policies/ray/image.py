"""Image references: `registry:5000/team/ray:2.60.0-gpu@sha256:...`."""


def repository_of(image: str) -> str:
    """The reference without tag, digest and Docker Hub's own name.

    `docker.io/team/ray:2.52.0` -> `team/ray`.
    """
    name = image.partition("@")[0].removeprefix("index.docker.io/").removeprefix("docker.io/")
    path, slash, last = name.rpartition("/")
    return path + slash + last.partition(":")[0]


def is_ray_image(image: str) -> bool:
    """True for an image of the Ray project, also from a mirror.

    `rayproject/ray`, `mirror.example/rayproject/ray-ml`.
    """
    owner, _, name = repository_of(image).rpartition("/")
    return owner.rpartition("/")[2] == "rayproject" and (name == "ray" or name.startswith("ray-"))


def tag_of(image: str) -> str:
    """The tag, such as `2.60.0-gpu`; empty if there is no tag."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def digest_of(image: str) -> str:
    """The digest, such as `sha256:...`; empty if there is no digest."""
    return image.partition("@")[2]
