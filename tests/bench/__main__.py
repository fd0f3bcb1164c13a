"""`python -m tests.bench [--publish] [PART ...]`."""

import sys

from tests.bench import (
    admission,
    enrollment,
    figures,
    namespace_state,
    records,
    reviewing,
    scan,
    starting,
    watches,
)

_PARTS = {
    "admission": admission.main,
    "enrollment": enrollment.main,
    "namespace-state": namespace_state.main,
    "starting": starting.main,
    "reviewing": reviewing.main,
    "scan": scan.main,
    "watches": watches.main,
}


def main(arguments: list[str]) -> str | None:
    """Measure the named parts or all of them, and compare and record what they measured.

    With `--publish` the documentation will show this machine's records; `make docs` writes it.
    """
    names = [argument for argument in arguments if argument != "--publish"] or list(_PARTS)
    if unknown := [name for name in names if name not in _PARTS]:
        return f"unknown part {unknown[0]}: choose from {', '.join(_PARTS)}"
    for name in names:
        _PARTS[name]()
    records.conclude(figures.measured, publishing="--publish" in arguments)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
