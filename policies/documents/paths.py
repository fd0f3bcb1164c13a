"""Mount paths: where they lead, which of them hide others, and which belong to the kernel."""

# Directories of the kernel. A link such as /proc/self/root leads to the container's root directory,
# so a mount below it can cover other files (seen with runc 1.1.5).
_KERNEL = frozenset({"proc", "sys", "dev"})
# Files in /proc in which LXCFS shows a container its own limits.
_OF_LXCFS = frozenset(
    {"cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"}
)
# Shared memory, message queues and huge pages are volumes that Kubernetes and Ray document.
_MEMORY = ("shm", "mqueue", "hugepages")


def normal_path(path: str) -> tuple[str, ...]:
    """The parts of a mount path, with `//`, `.`, `..` and trailing slashes resolved."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """One of two paths equals the other or is a parent of it."""
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def kernel_directory(path: str) -> str:
    """`proc`, `sys` or `dev` if the path is in it and no known use needs it there, else empty."""
    root, *rest = normal_path(path) or ("",)
    if root not in _KERNEL:
        return ""
    is_of_lxcfs = root == "proc" and len(rest) == 1 and rest[0] in _OF_LXCFS
    is_memory = root == "dev" and bool(rest) and rest[0].startswith(_MEMORY)
    return "" if is_of_lxcfs or is_memory else root
